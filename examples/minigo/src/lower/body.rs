//! The units of machine code: functions of Go's and what goes between them and the host.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;

use cranelift_codegen::ir::{FuncRef, StackSlotData, StackSlotKind};
use cranelift_frontend::{FuncInstBuilder, FunctionBuilder, Variable};
use minigo_front::program::Func;

use super::*;

/// The words of a value.
pub(super) type Vals = Vec<Value>;

/// One unit on its way to Cranelift's instructions. What changes is in cells, so that calls that
/// write instructions can stand inside one another.
pub(super) struct Body<'a, 'f, 'p> {
    lo: RefCell<&'a mut Lower<'p>>,
    b: RefCell<FunctionBuilder<'f>>,
    pub(super) p: &'p Program,
    pub(super) types: &'static Types,
    pub(super) ctx: Value,
    pub(super) closure: Value,
    /// The words of local variables; those of a variable that is in an object are its address.
    pub(super) vars: RefCell<HashMap<VarId, Vec<Variable>>>,
    pub(super) func: Option<&'p Func>,
    /// Where `break` and `continue` go to from the statements that are around what is written.
    pub(super) jumps: RefCell<Vec<(Block, Option<Block>)>>,
    /// Where a panic goes on: to the deferred calls, or out of the function.
    pub(super) unwind: Block,
    /// Where panics without arguments begin, by the function of the library.
    pub(super) panics: RefCell<BTreeMap<&'static str, Block>>,
    /// The list of deferred calls, in functions that have any.
    pub(super) deferred: Cell<Option<Variable>>,
    pub(super) refs: RefCell<HashMap<Code, FuncRef>>,
}

impl<'a, 'f, 'p> Body<'a, 'f, 'p> {
    /// Writes a unit's instructions.
    pub(super) fn write(lo: &'a mut Lower<'p>, mut b: FunctionBuilder<'f>, unit: &Unit) {
        let [block, unwind] = [b.create_block(), b.create_block()];
        b.append_block_params_for_function_params(block);
        b.switch_to_block(block);
        let args = b.block_params(block).to_vec();
        let (params, results) = lo.shape(unit);
        let func = match unit {
            Unit::Func(id) => Some(lo.p.func(*id)),
            _ => None,
        };
        lo.at = func.map_or(lo.at, |func| func.decl.pos);
        let body = Body {
            p: lo.p,
            types: lo.types,
            lo: RefCell::new(lo),
            b: RefCell::new(b),
            ctx: args[0],
            closure: args[args.len().min(2) - 1],
            vars: RefCell::default(),
            func,
            jumps: RefCell::default(),
            unwind,
            panics: RefCell::default(),
            deferred: Cell::default(),
            refs: RefCell::default(),
        };
        for (word, value) in params.iter().zip(&args) {
            body.declared_as(word, *value);
        }
        match unit {
            Unit::Exit(name, _) => body.exit(name, &args),
            Unit::Entry => body.entry(&args),
            Unit::Start => body.start(),
            Unit::Func(id) => body.function_body(body.p.func(*id), &args[2..]),
            Unit::Bound(target, later) => body.bound_call(target, *later, &args[2..]),
            Unit::Wrapper(number, ty) => body.wrapper(*number, *ty, &args[2..]),
            Unit::Block(ty) => body.call_by_blocks(*ty, args[2], args[3]),
        }
        for (name, block) in body.panics.take() {
            body.begin(block);
            body.cold();
            body.library(name, &[]);
            body.go_to(body.unwind);
        }
        if body.deferred.get().is_none() {
            body.begin(unwind);
            body.return_words(&body.zero_words(&results));
        }
        let config = body.lo().module.target_config();
        let mut b = body.b.into_inner();
        b.seal_all_blocks();
        b.finalize(config);
    }

    pub(super) fn lo(&self) -> RefMut<'_, &'a mut Lower<'p>> {
        self.lo.borrow_mut()
    }

    pub(super) fn b(&self) -> RefMut<'_, FunctionBuilder<'f>> {
        self.b.borrow_mut()
    }

    pub(super) fn ins<T>(&self, write: impl FnOnce(FuncInstBuilder<'_, 'f>) -> T) -> T {
        write(self.b().ins())
    }

    // Functions of the program.

    fn function_body(&self, func: &'p Func, args: &[Value]) {
        let at = self.ins(|ins| ins.get_stack_pointer(I64));
        let limit = self.load_int(self.ctx, ctx::STACK_LIMIT);
        let enough = self.compared(IntCC::UnsignedGreaterThanOrEqual, at, limit);
        self.panic_unless(enough, "runtime.stackOverflow");
        self.safepoint();
        self.take_captures(&func.captures);
        let params: Vec<VarId> = func.receiver.iter().chain(&func.params).copied().collect();
        let types: Vec<Ty> = params.iter().map(|var| self.var_ty(*var)).collect();
        for (var, values) in params.iter().zip(self.split(args, &types)) {
            self.make_var(*var, Some(&values));
        }
        for var in &func.results {
            self.make_var(*var, None);
        }
        if func.has_defer {
            let list = self.variables(basic::UNSAFE_POINTER, &[self.int(0)]);
            self.deferred.set(Some(list[0]));
        }
        if let Some(block) = &func.decl.body {
            self.stmts(&block.stmts);
        }
        self.return_results(func);
        if let Some(list) = self.deferred.get() {
            self.run_deferred(list);
            self.return_words(&self.result_values(func));
        }
    }

    fn start(&self) {
        for global in &self.p.globals {
            self.assign_all(&global.spec.names, &global.spec.values);
        }
        for func in self.p.inits.iter().chain([&self.p.main]) {
            self.call_target(&Target::Func(*func), &[]);
        }
        self.return_words(&[]);
    }

    fn result_values(&self, func: &Func) -> Vals {
        let value = |var: &VarId| self.read(&self.var_place(*var), self.var_ty(*var));
        func.results.iter().flat_map(value).collect()
    }

    /// Returns what is in the variables of the results, through the deferred calls if there are
    /// any.
    pub(super) fn return_results(&self, func: &Func) {
        match self.deferred.get() {
            Some(_) => self.go_to(self.unwind),
            None => self.return_words(&self.result_values(func)),
        }
    }

    /// Returns words, the first ones in registers.
    pub(super) fn return_words(&self, values: &[Value]) {
        for (index, value) in values.iter().enumerate().skip(RESULTS) {
            self.store_int(*value, self.ctx, ctx::RESULTS + 8 * index as i32);
        }
        self.ins(|ins| ins.return_(&values[..values.len().min(RESULTS)]));
    }

    /// Where a function that defers ends: runs the deferred calls, also while it panics.
    fn run_deferred(&self, list: Variable) {
        self.begin(self.unwind);
        self.host("defer_begin", &[self.frame()]);
        let [head, done] = self.blocks();
        self.go_to(head);
        self.begin(head);
        let first = self.b().use_var(list);
        self.go_on_if(first, done);
        let next = self.load_reference(first, 0);
        self.b().def_var(list, next);
        let closure = self.load_reference(first, 8);
        // It may be nil, which is a panic now.
        let panics = self.lo().library("runtime.panicNil");
        let panics = self.bound(&panics, &[], false);
        let closure = self.ins(|ins| ins.select(closure, closure, panics));
        self.reference(closure);
        let code = self.load_int(closure, 0);
        let signature = self.lo().signature(&[WORD, REFERENCE], &[]);
        let signature = self.b().import_signature(signature);
        let args = [self.ctx, closure];
        self.ins(|ins| ins.call_indirect(signature, code, &args));
        self.host("defer_after", &[self.frame()]);
        self.go_to(head);
        self.begin(done);
        self.host("defer_end", &[self.frame()]);
    }

    pub(super) fn frame(&self) -> Value {
        self.ins(|ins| ins.get_frame_pointer(I64))
    }

    // Functions between others.

    fn bound_call(&self, target: &Target, later: bool, args: &[Value]) {
        let types = self.lo().bound_types(target, later);
        let words = [&*self.load_all(&types, self.closure, 8), args].concat();
        let results = self.call_target(target, &words);
        self.return_words(if later { &[] } else { &results });
    }

    fn wrapper(&self, number: usize, ty: Ty, args: &[Value]) {
        let method = self.lo().methods[number].clone();
        let found = self.types.implementation(ty, &method);
        let found = found.expect("a wrapper is of a method that the type has");
        // The host's panics, of a nil receiver, need a frame; the stack is checked by the method.
        let place = match self.types.is_pointer_shaped(ty) {
            true => Place::Words(self.variables(ty, &[self.closure])),
            false => Place::Memory(self.closure, 0),
        };
        let (target, owner) = match &found.member {
            Member::Method(owner, method) => (Target::Func(method.func), *owner),
            Member::Abstract(owner, method) => (self.lo().abstract_target(method), *owner),
            Member::Field(_) => unreachable!("checked to be a method"),
        };
        let by_value = matches!(&found.member, Member::Method(_, method) if !method.by_pointer);
        if by_value && found.path.is_empty() && self.types.pointee(ty) == Some(owner) {
            let names = [&self.types.show(owner), &*method.name];
            let names = names.map(|name| self.text(name.as_bytes()));
            let is_nil = self.compared_int(IntCC::Equal, self.closure, 0);
            self.panic_if(is_nil, "runtime.panicMethod", &names.concat());
        }
        let receiver = self.receiver((place, ty), &found.path, (&target, owner));
        self.return_words(&self.call_target(&target, &[&*receiver, args].concat()));
    }

    fn call_by_blocks(&self, ty: Ty, arguments: Value, results: Value) {
        let sig = self.types.func(ty);
        let args = self.load_all(&sig.params, arguments, 0);
        let words = [vec![self.closure], args].concat();
        let found = self.call_target(&Target::Closure(ty), &words);
        self.store_all(&sig.results, &found, results, 0);
        self.return_words(&[]);
    }

    /// See [`fing::stubs::frames`] for what an exit stub leaves on the stack.
    fn exit(&self, name: &str, args: &[Value]) {
        let signature = self.b().func.signature.clone();
        let name = format!("host.{name}");
        let host = self.lo().declare(&name, Linkage::Import, &signature);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 3);
        let slot = self.b().create_sized_stack_slot(slot);
        let word = self.load_int(self.ctx, ctx::STACK);
        let previous = self.load_int(word, 0);
        let record = self.ins(|ins| ins.stack_addr(I64, slot, 0));
        self.store_int(previous, record, 0);
        self.store_int(self.frame(), record, 8);
        self.store_int(record, word, 0);
        let host = self.lo().module.declare_func_in_func(host, self.b().func);
        let call = self.ins(|ins| ins.call(host, args));
        self.store_int(previous, word, 0);
        let result = self.b().inst_results(call)[0];
        self.return_words(&[result]);
    }

    /// Calls the code at the first argument with the others, and leaves the registers of two
    /// results in the context, whatever the code returns.
    fn entry(&self, args: &[Value]) {
        let signature = self.lo().signature(&[WORD; 6], &[WORD; RESULTS]);
        let signature = self.b().import_signature(signature);
        let call = self.ins(|ins| ins.call_indirect(signature, args[0], &args[1..]));
        let results = self.b().inst_results(call).to_vec();
        for (result, offset) in results.into_iter().zip([0, 8]) {
            self.store_int(result, args[1], ctx::RESULTS + offset);
        }
        self.return_words(&[]);
    }
}
