//! Where Cranelift puts the values of a signature: the rules of its `compute_arg_locs`, for each
//! machine, in terms of a convention's registers. They are written from Cranelift's sources and
//! share no code with [`assign`](mod@crate::assign), which has the rules of the convention's text.
//!
//! A register is named by its number in the convention's lists. Where Cranelift has more result
//! registers than the convention, its list begins with the convention's, so that a number beyond
//! the end is a register that the convention does not use.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::{AbiParam, ArgumentExtension, types};
use cranelift_codegen::isa::CallConv;

use crate::abi::{Abi, Arch, NativeConvention, RegClass};
use crate::assign::{Piece, Place, Value};
use crate::signature::{WORD, round_up};

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// Its bytes, run by run.
    Direct(Vec<Run>),
    /// Its address is passed.
    Reference(Vec<Run>),
    /// A result in memory whose address the caller passes.
    Memory {
        /// Whether all results are in it, as one C struct; Cranelift puts those there that find no
        /// register.
        whole: bool,
    },
}

/// Bytes of a value that are together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    off: u64,
    size: u64,
    at: Spot,
}

impl Run {
    /// Whether what lies at `next` on the stack is just behind it.
    fn continues_at(&self, next: &Spot) -> bool {
        match (&self.at, next) {
            (Spot::Stack(start), Spot::Stack(next)) => start + self.size == *next,
            _ => false,
        }
    }
}

/// A register, from a byte on, or an offset from the first stack argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Register(RegClass, usize, u64),
    Stack(u64),
}

/// Where this crate has a value.
pub(super) fn of_value(value: &Value) -> Places {
    match &value.place {
        Place::Hidden { .. } => Places::Memory { whole: true },
        Place::Reference { pointer, .. } => Places::Reference(runs(pointer, WORD)),
        place => Places::Direct(runs(place, value.size)),
    }
}

/// The bytes of a value that is passed itself.
fn runs(place: &Place, size: u64) -> Vec<Run> {
    let in_register = |piece: &Piece| Run {
        off: piece.off,
        size: piece.size,
        at: Spot::Register(piece.class, piece.index, piece.reg_off),
    };
    let on_stack = |off: u64, offset: u64| Run {
        off,
        size: size - off,
        at: Spot::Stack(offset),
    };
    match place {
        Place::Regs { pieces, .. } => pieces.iter().map(in_register).collect(),
        Place::Split { piece, offset } => {
            vec![in_register(piece), on_stack(piece.size, *offset)]
        }
        Place::Stack { offset } => vec![on_stack(0, *offset)],
        Place::Reference { .. } | Place::Hidden { .. } => Vec::new(),
    }
}

/// Where Cranelift has the parameters.
pub(super) fn of_params(
    native: &NativeConvention,
    params: &[AbiParam],
    call_conv: CallConv,
) -> Vec<Places> {
    let mut next = Next {
        native,
        call_conv,
        registers: [native.int_args.len(), native.float_args.len()],
        taken: [0, 0],
        stack: 0,
        is_result: false,
    };
    params.iter().map(|param| next.place(param)).collect()
}

/// Where Cranelift has the results.
pub(super) fn of_results(
    native: &NativeConvention,
    results: &[AbiParam],
    call_conv: CallConv,
) -> Vec<Places> {
    let registers = match (native.arch, call_conv) {
        (Arch::Amd64, CallConv::Tail) => [8, 8],
        (Arch::Amd64, CallConv::WindowsFastcall) => [2, 1],
        (Arch::Arm64, CallConv::Tail) => [6, 8],
        (Arch::Arm64, _) => [8, 8],
        (Arch::S390x, CallConv::Tail) => [6, 4],
        (Arch::S390x, _) => [4, 4],
        (Arch::Pulley64 | Arch::Pulley64Be, _) => [15, 16],
        _ => [2, 2],
    };
    let mut next = Next {
        native,
        call_conv,
        registers,
        taken: [0, 0],
        stack: 0,
        is_result: true,
    };
    results.iter().map(|result| next.place(result)).collect()
}

/// Registers and stack taken so far.
struct Next<'a> {
    native: &'a NativeConvention,
    call_conv: CallConv,
    /// How many registers of each class there are.
    registers: [usize; 2],
    taken: [usize; 2],
    stack: u64,
    is_result: bool,
}

impl Next<'_> {
    fn place(&mut self, value: &AbiParam) -> Places {
        let ty = value.value_type;
        let bytes = u64::from(ty.bytes());
        let is_wide = ty == types::I128;
        let is_wide_vector = ty.is_vector() && bytes >= 16;
        if !self.is_result {
            match self.native.arch {
                Arch::Amd64 if is_wide_vector && self.is_positional() => {
                    return self.reference();
                }
                Arch::S390x if is_wide || ty.is_vector() => {
                    return self.reference();
                }
                Arch::Amd64 if is_wide && self.call_conv == CallConv::SystemV => {
                    // Two registers count as taken even if one is left and both halves are in
                    // memory.
                    let first = self.taken[0];
                    self.taken[0] += 2;
                    if self.taken[0] > self.registers[0] {
                        return self.whole_on_stack(bytes);
                    }
                    return halves(first);
                }
                _ => {}
            }
        }
        if is_wide && self.native.arch == Arch::S390x {
            return Places::Memory { whole: false };
        }
        if is_wide && self.native.arch == Arch::Arm64 {
            if self.taken[0] + 2 > self.registers[0] {
                // The register that is left, if one is, stays for later values.
                return self.whole_on_stack(bytes);
            }
            if self.call_conv != CallConv::AppleAarch64 {
                // Counted from x0, or from x2.
                self.taken[0] = self.taken[0].next_multiple_of(2);
            }
            self.taken[0] += 2;
            return halves(self.taken[0] - 2);
        }
        let parts: &[(RegClass, u64)] = match ty {
            types::I128 => &[(RegClass::Int, WORD), (RegClass::Int, WORD)],
            _ if ty.is_int() => &[(RegClass::Int, bytes)],
            _ => &[(RegClass::Float, bytes)],
        };
        let has_vector_registers = matches!(self.native.arch, Arch::Amd64 | Arch::Arm64);
        let mut runs: Vec<Run> = Vec::new();
        for (i, &(class, size)) in (0..).zip(parts) {
            let at = if ty.is_vector() && !has_vector_registers {
                self.on_stack(size)
            } else {
                self.part(class, size)
            };
            if self.is_result && matches!(at, Spot::Stack(_)) {
                return Places::Memory { whole: false };
            }
            let off = i * WORD;
            match runs.last_mut() {
                Some(last) if last.continues_at(&at) => last.size += size,
                _ => runs.push(Run { off, size, at }),
            }
        }
        if let [
            Run {
                size,
                at: Spot::Stack(offset),
                ..
            },
        ] = &mut runs[..]
            && self.lies_at_the_end(value)
        {
            *offset += size.next_multiple_of(WORD) - *size;
        }
        Places::Direct(runs)
    }

    /// Whether a small value is in the last bytes of its slot.
    fn lies_at_the_end(&self, value: &AbiParam) -> bool {
        match self.native.arch {
            Arch::S390x => true,
            // What is extended is a whole word.
            Arch::Pulley64Be => value.extension != ArgumentExtension::None,
            _ => false,
        }
    }

    fn is_positional(&self) -> bool {
        self.call_conv == CallConv::WindowsFastcall
    }

    /// A register for one part of a value, or a stack slot.
    fn part(&mut self, class: RegClass, size: u64) -> Spot {
        let own = usize::from(class == RegClass::Float);
        let index = self.taken[own];
        if index < self.registers[own] {
            self.taken[own] += 1;
            if self.is_positional() && !self.is_result {
                self.taken = [index + 1; 2];
            }
            return Spot::Register(class, index, 0);
        }
        self.on_stack(size)
    }

    fn on_stack(&mut self, size: u64) -> Spot {
        // Apple's arguments take their own size.
        let slot = match self.call_conv {
            CallConv::AppleAarch64 if !self.is_result => size,
            _ => size.max(WORD),
        };
        let align = match self.native.arch {
            Arch::S390x => slot.min(WORD),
            _ => slot,
        };
        let offset = round_up(self.stack, align);
        self.stack = offset + slot;
        Spot::Stack(offset)
    }

    /// The address of a copy, as any address.
    fn reference(&mut self) -> Places {
        Places::Reference(vec![Run {
            off: 0,
            size: WORD,
            at: self.part(RegClass::Int, WORD),
        }])
    }

    fn whole_on_stack(&mut self, size: u64) -> Places {
        if self.is_result {
            return Places::Memory { whole: false };
        }
        let at = self.on_stack(size);
        Places::Direct(vec![Run { off: 0, size, at }])
    }
}

/// An integer of two words in two registers.
fn halves(first: usize) -> Places {
    let half = |i: usize| Run {
        off: i as u64 * WORD,
        size: WORD,
        at: Spot::Register(RegClass::Int, first + i, 0),
    };
    Places::Direct(vec![half(0), half(1)])
}

impl Places {
    /// For an error: where the value is, by the registers' names.
    pub(super) fn text(&self, abi: Abi, is_result: bool) -> String {
        let spot = |spot: &Spot| match spot {
            Spot::Stack(offset) => format!("on the stack at {offset}"),
            Spot::Register(class, index, byte) => {
                let names = match is_result {
                    true => abi.result_registers(*class),
                    false => abi.arg_registers(*class),
                };
                let name = names.get(*index).map_or_else(
                    || format!("in {class} register {index} of Cranelift's own"),
                    |name| format!("in {name}"),
                );
                match byte {
                    0 => name,
                    byte => format!("{name} from byte {byte}"),
                }
            }
        };
        match self {
            Places::Direct(runs) => {
                let run = |run: &Run| {
                    format!(
                        "bytes {}..{} {}",
                        run.off,
                        run.off + run.size,
                        spot(&run.at)
                    )
                };
                runs.iter().map(run).collect::<Vec<_>>().join(", ")
            }
            Places::Reference(runs) => {
                let spots: Vec<String> = runs.iter().map(|run| spot(&run.at)).collect();
                format!("the address of a copy {}", spots.join(", "))
            }
            Places::Memory { whole: true } => "part of one struct in the caller's memory".into(),
            Places::Memory { whole: false } => "a value in Cranelift's area of results".into(),
        }
    }
}
