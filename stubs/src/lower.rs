//! A stub key to CLIF: one compiled loop over records.
//!
//! ```text
//! stub(first, end, progress, g):
//!     record = first
//!     *progress = record                    // before the call: it names the running record
//!     while record < *end {                 // read after the store, before each call
//!         call(record.code, record.context, record.words, g)
//!         record += 32                      // ascending addresses
//!         *progress = record
//!     }
//! ```
//! Another thread may lower `*end` to end the batch early; see [`Stub::run`](crate::Stub::run).
//!
//! **The frame.** Cranelift lays out explicit stack slots from the stack pointer up, above what the
//! convention of its calls wants there: nothing, or Windows' home space, or the register save area
//! of s390x. None of our calls has outgoing stack arguments of its own, so slot 0 begins exactly
//! where the callee finds its stack arguments. The slot *is* the callee's frame: stack arguments
//! are plain stores, and results and spill slots are part of it. [`compile`](crate::compile) checks
//! the place of the slot in every stub it makes, so a change of layout in Cranelift is an error,
//! never a wrong call. The exception is `tail`, whose callee takes its stack arguments off the
//! stack: they are Cranelift's own.
//!
//! **Every register clobbered.** Go functions save nothing. A `try_call` with an empty exception
//! table to a callee of convention `PreserveAll` makes Cranelift treat every register as clobbered,
//! on every ISA; the stub then saves its caller's registers once per batch. Native callees are
//! called with their own convention.
//!
//! **The entrance.** Saving and restoring registers is a third of such a stub on x86-64, and the
//! same in all of them. There Cranelift has a convention that keeps no register: stubs for Go
//! functions are of that one, and entered through one function that they share, which saves what
//! the C convention keeps. See [`entrance`].
#![forbid(unsafe_code)]

mod go;
mod memory;
mod native;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, Function, InstBuilder, MemFlagsData, Signature, StackSlot,
    StackSlotData, StackSlotKind, Type, UserExternalName, UserFuncName, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use crate::key::{Move, ResultSource, StubKey, Target};
use crate::record::{RECORD_SIZE, WORDS_OFFSET};
use crate::veneer::{Facts, Plan};
use crate::{Arch, Family, RegClass};

/// Module-level names: the veneer is function 0, the stub function 1, of namespace 0.
pub(crate) const VENEER_NAME: UserExternalName = UserExternalName {
    namespace: 0,
    index: 0,
};
pub(crate) const STUB_NAME: UserExternalName = UserExternalName {
    namespace: 0,
    index: 1,
};

/// What kind of machine a stub is for, as far as its CLIF depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    /// The C convention: of the stub itself.
    pub(crate) native: CallConv,
    pub(crate) config: TargetFrontendConfig,
    /// A mistake planted on purpose.
    #[cfg(feature = "faults")]
    pub(crate) fault: Option<crate::faults::Fault>,
}

/// A stub's CLIF, and the places of its slots.
pub(crate) struct Lowered {
    pub(crate) function: Function,
    /// The callee's frame, and how many bytes above the stack pointer of the call it must be.
    pub(crate) frame: Option<(StackSlot, u32)>,
    /// What the veneer saves to.
    pub(crate) save: Option<StackSlot>,
}

impl Machine {
    /// The convention of a stub for `callee`: C's, or one that keeps no register, behind an
    /// [`entrance`].
    pub(crate) fn stub_convention(&self, callee: &Callee, arch: Arch) -> CallConv {
        match (callee, arch, self.native) {
            (Callee::Go(_), Arch::Amd64, CallConv::SystemV) => BARE,
            _ => self.native,
        }
    }
}

/// The convention that keeps no register; its arguments are System V's on x86-64.
const BARE: CallConv = CallConv::Winch;

/// What the stubs of [`BARE`] are entered through: a function of the C convention that takes a
/// stub's address after the arguments of a stub.
pub(crate) fn entrance(machine: Machine) -> Function {
    let mut signature = stub_signature(machine.native);
    signature.params.push(AbiParam::new(types::I64));
    let name = UserFuncName::User(STUB_NAME);
    let mut function = Function::with_name_signature(name, signature);
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut function, &mut builder_context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    let parameters = builder.block_params(block).to_vec();
    let (arguments, stub) = parameters.split_at(4);
    #[cfg(not(feature = "faults"))]
    let convention = BARE;
    #[cfg(feature = "faults")]
    let convention = match machine.fault {
        // As if the stub kept its caller's registers.
        Some(crate::faults::Fault::CalleeSaved) => machine.native,
        _ => BARE,
    };
    let callee = builder.import_signature(stub_signature(convention));
    builder.ins().call_indirect(callee, stub[0], arguments);
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(machine.config);
    function
}

/// Signature of every stub: first record, the cell with the end, progress cell, g; no result.
pub(crate) fn stub_signature(native: CallConv) -> Signature {
    let mut signature = Signature::new(native);
    signature.params = vec![AbiParam::new(types::I64); 4];
    signature
}

/// The stub's body for `key`. `plan` is there if the ABI is Go's, else `convention` is the
/// callee's.
pub(crate) fn lower(key: &StubKey, callee: Callee, machine: Machine) -> Lowered {
    let mut function = Function::with_name_signature(
        UserFuncName::User(STUB_NAME),
        stub_signature(machine.stub_convention(&callee, key.abi().arch())),
    );
    let mut builder_context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut function, &mut builder_context);
    let [entry, body, next, exit] = [(); 4].map(|()| builder.create_block());
    builder.append_block_params_for_function_params(entry);
    let record = builder.append_block_param(body, types::I64);

    builder.switch_to_block(entry);
    let &[first, end, progress, g] = builder.block_params(entry) else {
        unreachable!("four parameters")
    };
    let mut call = CallBuilder::new(
        key,
        &callee,
        #[cfg(feature = "faults")]
        machine,
        &mut builder,
        g,
        record,
    );
    // A value of its own: the parameter's register is lost in the first call, and the allocator
    // would rather move the parameter back there in every round than leave it in another.
    let end = match key.abi().family() {
        Family::Go => end,
        Family::Native(_) => call.builder.ins().iadd_imm_s(end, 0),
    };
    let [progress, g, end] = call.keep([progress, g, end]);
    call.g = g;
    // What a call has stored is seen by whoever sees that it is done. Some machines store in order
    // by themselves.
    let stores_out_of_order = matches!(key.abi().arch(), Arch::Arm64 | Arch::Riscv64);
    // The loop's condition, at its entry and behind each call.
    let go_on = |builder: &mut FunctionBuilder<'_>, record| {
        let cell = progress.value(builder);
        let flags = MemFlagsData::trusted();
        let _ = match stores_out_of_order {
            true => builder.ins().atomic_store(flags, record, cell),
            false => builder.ins().store(flags, record, cell, 0),
        };
        let end = end.value(builder);
        let end = builder
            .ins()
            .load(types::I64, MemFlagsData::trusted(), end, 0);
        let more = builder.ins().icmp(IntCC::UnsignedLessThan, record, end);
        builder
            .ins()
            .brif(more, body, &[BlockArg::Value(record)], exit, &[]);
    };
    go_on(call.builder, first);

    call.builder.switch_to_block(body);
    let [running] = call.keep([record]);
    call.running = running;
    call.emit(callee, next);
    let (frame, save) = (call.frame, call.save);

    builder.switch_to_block(next);
    let done = running.value(&mut builder);
    let following = builder.ins().iadd_imm_s(done, RECORD_SIZE);
    go_on(&mut builder, following);

    builder.switch_to_block(exit);
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(machine.config);
    Lowered {
        function,
        frame: frame.map(|slot| (slot, callee.slot_zero(key))),
        save,
    }
}

/// A value of the loop that lives across calls.
///
/// A native callee keeps registers, and the register allocator finds them. Where every register is
/// clobbered all of them live in memory, and the allocator would store each again in every round:
/// there they are stored once, by hand.
#[derive(Clone, Copy)]
enum Kept {
    Value(Value),
    Stored(StackSlot),
}

impl Kept {
    fn value(self, builder: &mut FunctionBuilder<'_>) -> Value {
        match self {
            Kept::Value(value) => value,
            Kept::Stored(slot) => builder.ins().stack_load(types::I64, types::I64, slot, 0),
        }
    }
}

/// What the stub calls.
#[derive(Clone, Copy)]
pub(crate) enum Callee {
    /// A Go function, through a veneer.
    Go(Plan),
    /// A function of this convention.
    Native(CallConv),
    /// A variadic function of this convention that wants more than Cranelift's calls give it,
    /// through a veneer.
    Variadic(CallConv),
}

impl Callee {
    /// Bytes from the stack pointer at the call up to slot 0.
    fn slot_zero(self, key: &StubKey) -> u32 {
        match key.abi().native_table() {
            Some(table) => table.argument_base as u32,
            None => Facts::of(key.abi().arch()).map_or(0, |facts| facts.slot_zero),
        }
    }
}

/// Bytes of the slot in which a veneer finds the address of a variadic function.
const CODE_SLOT: u32 = 16;

/// One record's call, in the loop's body.
struct CallBuilder<'a, 'b> {
    key: &'a StubKey,
    #[cfg(feature = "faults")]
    machine: Machine,
    builder: &'a mut FunctionBuilder<'b>,
    g: Kept,
    record: Value,
    /// The record, after the call.
    running: Kept,
    /// The address that moves count from.
    arguments: Value,
    /// The callee's frame: the first slot made.
    frame: Option<StackSlot>,
    /// Bytes in that slot below the argument base.
    base: i32,
    save: Option<StackSlot>,
    hidden: Option<StackSlot>,
}

/// Result registers, as values of the stub's own or in the veneer's image.
enum ResultRegisters {
    Values {
        ints: Vec<Value>,
        floats: Vec<Value>,
    },
    Image {
        slot: Option<StackSlot>,
        plan: Plan,
    },
}

impl<'a, 'b> CallBuilder<'a, 'b> {
    fn new(
        key: &'a StubKey,
        callee: &Callee,
        #[cfg(feature = "faults")] machine: Machine,
        builder: &'a mut FunctionBuilder<'b>,
        g: Value,
        record: Value,
    ) -> Self {
        let mut slot = |bytes: u32| {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
            (bytes > 0).then(|| builder.create_sized_stack_slot(data))
        };
        let facts = Facts::of(key.abi().arch());
        let (base, save) = match (callee, key.abi().family()) {
            (Callee::Go(plan), Family::Go) => {
                let base = facts.map_or(0, |facts| facts.argument_base);
                (base, plan.slot_bytes() as u32)
            }
            (Callee::Variadic(_), _) => (0, CODE_SLOT),
            _ => (0, 0),
        };
        let tail = key
            .abi()
            .convention()
            .is_some_and(|convention| convention.is_tail());
        let frame = slot(if key.needs_frame() && !tail {
            key.frame() + base
        } else {
            0
        });
        let save = slot(save);
        let hidden = slot(key.hidden());
        CallBuilder {
            key,
            #[cfg(feature = "faults")]
            machine,
            builder,
            g: Kept::Value(g),
            record,
            running: Kept::Value(record),
            arguments: record,
            frame,
            base: base as i32,
            save,
            hidden,
        }
    }

    /// Keeps values across calls; to be called where they are defined.
    fn keep<const N: usize>(&mut self, values: [Value; N]) -> [Kept; N] {
        values.map(|value| match self.key.abi().family() {
            Family::Go => {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3);
                let slot = self.builder.create_sized_stack_slot(data);
                self.stack_store(value, slot, 0);
                Kept::Stored(slot)
            }
            Family::Native(_) => Kept::Value(value),
        })
    }

    /// The moves to integer registers, in order.
    fn int_moves(&self) -> Vec<Move> {
        let moves = self.key.register_moves(RegClass::Int);
        #[cfg(feature = "faults")]
        if self.machine.fault == Some(crate::faults::Fault::WrongRegister) {
            let count = moves.len();
            let stray = moves.first().map(|first| Move {
                source: crate::key::Source::Context,
                ..*first
            });
            return stray.into_iter().chain(moves).take(count).collect();
        }
        moves
    }

    /// The whole call; control goes on at `next`.
    fn emit(&mut self, callee: Callee, next: Block) {
        if self.key.is_block() {
            self.arguments = self.load_word(WORDS_OFFSET);
        }
        for m in self.key.moves() {
            match (m.to, self.frame) {
                (Target::Frame(offset), Some(slot)) => {
                    self.copy_in(m, slot, self.base + offset as i32);
                }
                (Target::Word(offset), Some(slot)) => {
                    let value = self.word(m);
                    self.stack_store(value, slot, self.base + offset as i32);
                }
                _ => {}
            }
        }
        let results = match callee {
            Callee::Go(plan) => self.call_veneer(plan),
            Callee::Native(convention) | Callee::Variadic(convention) => {
                self.call_native(convention)
            }
        };
        let results_out = self.key.results();
        if !results_out.is_empty() {
            self.record = self.running.value(self.builder);
            let block = self.load_word(WORDS_OFFSET + 8);
            for m in results_out {
                match m.from {
                    ResultSource::Frame(offset) => {
                        let from = self.base + offset as i32;
                        self.copy_out(self.frame, from, block, m.to as i32, m.size);
                    }
                    ResultSource::Hidden(offset) => {
                        self.copy_out(self.hidden, offset as i32, block, m.to as i32, m.size);
                    }
                    ResultSource::Int(..) | ResultSource::Float(..) => {
                        self.register_out(&results, m, block);
                    }
                }
            }
        }
        self.builder.ins().jump(next, &[]);
    }
}

fn int_type(bytes: u32) -> Type {
    match bytes {
        1 => types::I8,
        2 => types::I16,
        4 => types::I32,
        _ => types::I64,
    }
}

fn float_type(bytes: u32) -> Type {
    if bytes == 4 { types::F32 } else { types::F64 }
}
