//! What all constructs are made of: words, memory, objects, branches, checks, calls of the host.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use cranelift_codegen::ir::{BlockArg, FuncRef, Inst, Type};
use cranelift_frontend::Variable;

use super::*;
use crate::layout::MAX_WORDS;

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn int(&self, value: i64) -> Value {
        self.ins(|ins| ins.iconst(I64, value))
    }

    pub(super) fn type_number(&self, ty: Ty) -> Value {
        self.int(i64::from(ty.0))
    }

    pub(super) fn zeros(&self, ty: Ty) -> Vals {
        self.zero_words(&self.words(ty))
    }

    pub(super) fn zero_words(&self, words: &[Word]) -> Vals {
        let zero = |word: &Word| match word.clif {
            F64 => self.ins(|ins| ins.f64const(0.0)),
            F32 => self.ins(|ins| ins.f32const(0.0)),
            ty => self.ins(|ins| ins.iconst(ty, 0)),
        };
        words.iter().map(zero).collect()
    }

    /// The words of a type whose values are held in registers.
    pub(super) fn words(&self, ty: Ty) -> Vec<Word> {
        let words = layout::words(self.types, ty);
        if words.len() > MAX_WORDS {
            let why = format!("is outside minigo's subset: over {MAX_WORDS} words");
            let message = format!("copying a {} {why}", self.types.show(ty));
            self.lo().refuse(message);
        }
        words
    }

    pub(super) fn type_of(&self, value: Value) -> Type {
        self.b().func.dfg.value_type(value)
    }

    /// Declares a value to be a reference.
    pub(super) fn reference(&self, value: Value) -> Value {
        self.declared_as(&REFERENCE, value)
    }

    pub(super) fn declared_as(&self, word: &Word, value: Value) -> Value {
        if word.reference {
            self.b().declare_value_needs_stack_map(value);
        }
        value
    }

    /// New variables with the words of a value.
    pub(super) fn variables(&self, ty: Ty, values: &[Value]) -> Vec<Variable> {
        let declare = |word: &Word| {
            let variable = self.b().declare_var(word.clif);
            if word.reference {
                self.b().declare_var_needs_stack_map(variable);
            }
            variable
        };
        let variables: Vec<_> = layout::words(self.types, ty).iter().map(declare).collect();
        self.set(&variables, values);
        variables
    }

    pub(super) fn set(&self, variables: &[Variable], values: &[Value]) {
        for (variable, value) in variables.iter().zip(values) {
            self.b().def_var(*variable, *value);
        }
    }

    /// The values of these types that the words are.
    pub(super) fn split(&self, values: &[Value], types: &[Ty]) -> Vec<Vals> {
        let mut rest = values.iter().copied();
        let words = |ty: &Ty| {
            rest.by_ref()
                .take(layout::words(self.types, *ty).len())
                .collect()
        };
        types.iter().map(words).collect()
    }

    // Memory.

    pub(super) fn load_word(&self, word: &Word, at: Value, offset: i32) -> Value {
        let (flags, offset) = (MemFlagsData::trusted(), offset + word.offset as i32);
        let value = self.ins(|ins| ins.load(word.clif, flags, at, offset));
        self.declared_as(word, value)
    }

    fn load_words(&self, words: &[Word], at: Value, offset: i32) -> Vals {
        let load = |word| self.load_word(word, at, offset);
        words.iter().map(load).collect()
    }

    pub(super) fn load(&self, ty: Ty, at: Value, offset: i32) -> Vals {
        self.load_words(&self.words(ty), at, offset)
    }

    /// Values that lie one behind the other, from an offset on.
    pub(super) fn load_all(&self, types: &[Ty], at: Value, offset: u64) -> Vals {
        self.load_words(&layout::words_of(self.types, types, offset), at, 0)
    }

    pub(super) fn load_int(&self, at: Value, offset: i32) -> Value {
        self.load_word(&WORD, at, offset)
    }

    pub(super) fn load_reference(&self, at: Value, offset: i32) -> Value {
        self.load_word(&REFERENCE, at, offset)
    }

    pub(super) fn store_int(&self, value: Value, at: Value, offset: i32) {
        let flags = MemFlagsData::trusted();
        self.ins(|ins| ins.store(flags, value, at, offset));
    }

    fn store_words(&self, words: &[Word], values: &[Value], at: Value, offset: i32) {
        for (word, value) in words.iter().zip(values) {
            self.store_int(*value, at, offset + word.offset as i32);
        }
    }

    pub(super) fn store(&self, ty: Ty, values: &[Value], at: Value, offset: i32) {
        self.store_words(&self.words(ty), values, at, offset);
    }

    pub(super) fn store_all(&self, types: &[Ty], values: &[Value], at: Value, offset: u64) {
        self.store_words(&layout::words_of(self.types, types, offset), values, at, 0);
    }

    /// An address that leads into an object.
    pub(super) fn inside(&self, at: Value, offset: i32) -> Value {
        if offset == 0 {
            return at;
        }
        let inside = self.ins(|ins| ins.iadd_imm_s(at, i64::from(offset)));
        self.reference(inside)
    }

    /// The address of an element.
    pub(super) fn element(&self, at: Value, elem: Ty, index: Value) -> Value {
        let offset = self.bytes(elem, index);
        self.ins(|ins| ins.iadd(at, offset))
    }

    /// How many bytes so many elements have.
    pub(super) fn bytes(&self, elem: Ty, count: Value) -> Value {
        let size = self.types.size(elem) as i64;
        self.ins(|ins| ins.imul_imm_s(count, size))
    }

    // Objects.

    /// A new object of a type, which is zero.
    pub(super) fn new_object(&self, ty: Ty) -> Value {
        self.new_of(&self.heap_text(ty))
    }

    pub(super) fn heap_text(&self, ty: Ty) -> String {
        let text = self.lo().heap.text(ty);
        self.lo().keep(text)
    }

    /// A new object with a value.
    pub(super) fn object_with(&self, ty: Ty, values: &[Value]) -> Value {
        let object = self.new_object(ty);
        self.store(ty, values, object, 0);
        object
    }

    /// A new object of a type of the heap's: the next one of this goroutine's window, or, if that
    /// is empty or the type has none, what the host makes. No function of Go's runs in between, so
    /// there is no panic to look for.
    pub(super) fn new_of(&self, text: &str) -> Value {
        let site = self.lo().site(text);
        let (number, stride) = self.lo().keep(site);
        let site = self.int(number as i64);
        let Some(stride) = stride else {
            return self.reference(self.host("new", &[site]));
        };
        let windows = self.load_int(self.ctx, ctx::WINDOWS);
        let window = self.load_int(windows, 8 * number as i32);
        let next = self.load_int(window, 0);
        let behind = self.ins(|ins| ins.iadd_imm_s(next, stride as i64));
        let limit = self.load_int(window, 8);
        let empty = self.compared(IntCC::UnsignedGreaterThan, behind, limit);
        let refill = || {
            self.cold();
            vec![self.host("refill", &[site])]
        };
        let take = || {
            self.store_int(behind, window, 0);
            vec![next]
        };
        self.choose(&[REFERENCE], empty, refill, take)[0]
    }

    pub(super) fn new_array(&self, elem: Ty, count: Value) -> Value {
        self.reference(self.host_of("make_slice", elem, &[count; 2]))
    }

    // Branches.

    pub(super) fn compared(&self, condition: IntCC, a: Value, b: Value) -> Value {
        self.ins(|ins| ins.icmp(condition, a, b))
    }

    pub(super) fn compared_int(&self, condition: IntCC, a: Value, b: i64) -> Value {
        self.ins(|ins| ins.icmp_imm_s(condition, a, b))
    }

    pub(super) fn blocks<const COUNT: usize>(&self) -> [Block; COUNT] {
        std::array::from_fn(|_| self.b().create_block())
    }

    /// What comes next is in this block.
    pub(super) fn begin(&self, block: Block) {
        self.b().switch_to_block(block);
    }

    pub(super) fn go_to(&self, block: Block) {
        self.jump(block, &[]);
    }

    fn jump(&self, block: Block, values: &[Value]) {
        let args: Vec<BlockArg> = values.iter().map(|value| (*value).into()).collect();
        self.ins(|ins| ins.jump(block, &args));
    }

    fn branch(&self, condition: Value, yes: Block, no: Block) {
        self.ins(|ins| ins.brif(condition, yes, &[], no, &[]));
    }

    /// Goes on in a new block if the condition is not 0, else to `end`.
    pub(super) fn go_on_if(&self, condition: Value, end: Block) {
        let [go_on] = self.blocks();
        self.branch(condition, go_on, end);
        self.begin(go_on);
    }

    /// Goes to a block if the condition is not 0, else on in a new one.
    pub(super) fn leave_if(&self, condition: Value, to: Block) {
        let [go_on] = self.blocks();
        self.branch(condition, to, go_on);
        self.begin(go_on);
    }

    /// What follows is never run.
    pub(super) fn unreachable(&self) {
        let [block] = self.blocks();
        self.begin(block);
    }

    /// The words that one of two branches gives: the first one if the condition is not 0.
    pub(super) fn choose(
        &self,
        words: &[Word],
        condition: Value,
        yes: impl FnOnce() -> Vals,
        no: impl FnOnce() -> Vals,
    ) -> Vals {
        let [then, otherwise, end] = self.blocks();
        self.branch(condition, then, otherwise);
        self.begin(then);
        self.jump(end, &yes());
        self.begin(otherwise);
        self.jump(end, &no());
        self.begin(end);
        let param = |word: &Word| {
            let value = self.b().append_block_param(end, word.clif);
            self.declared_as(word, value)
        };
        words.iter().map(param).collect()
    }

    /// Says that the current block seldom runs.
    pub(super) fn cold(&self) {
        let block = self.b().current_block();
        if let Some(block) = block {
            self.b().set_cold_block(block);
        }
    }

    // Checks.

    /// Panics by a function of the library if the condition is not 0.
    pub(super) fn panic_if(&self, condition: Value, name: &str, args: &[Value]) {
        let [panic, go_on] = self.blocks();
        self.branch(condition, panic, go_on);
        self.begin(panic);
        self.cold();
        self.library(name, args);
        self.go_to(self.unwind);
        self.begin(go_on);
    }

    /// Panics by a function of the library if the condition is 0. All such panics of a function go
    /// through one block.
    pub(super) fn panic_unless(&self, condition: Value, name: &'static str) {
        let mut panics = self.panics.borrow_mut();
        let new = || self.b().create_block();
        let block = panics.entry(name).or_insert_with(new);
        self.go_on_if(condition, *block);
    }

    pub(super) fn check_nil(&self, address: Value) {
        self.panic_unless(address, "runtime.panicNil");
    }

    /// A point where a collection may happen.
    pub(super) fn safepoint(&self) {
        // Those of the library are where it makes objects.
        if self.func.is_some_and(|func| &*func.package != "main") {
            return;
        }
        let address = self.int(self.lo().heap.flag.address() as i64);
        let flags = MemFlagsData::trusted();
        let flag = self.ins(|ins| ins.load(I32, flags, address, 0));
        let poll = || {
            self.cold();
            self.host("poll", &[]);
            Vals::new()
        };
        self.choose(&[], flag, poll, Vals::new);
    }

    fn check_panic(&self) {
        self.leave_if(self.load_int(self.ctx, ctx::PANICKING), self.unwind);
    }

    // Calls.

    pub(super) fn func_ref(&self, unit: &Unit) -> FuncRef {
        let code = self.lo().code(unit);
        let (mut lo, mut b) = (self.lo(), self.b());
        let declare = || lo.module.declare_func_in_func(code, b.func);
        *self.refs.borrow_mut().entry(code).or_insert_with(declare)
    }

    /// Calls a function of the library, by its name.
    pub(super) fn library(&self, name: &str, words: &[Value]) -> Vals {
        let target = self.lo().library(name);
        self.call_target(&target, words)
    }

    /// Calls a function of the host through its exit stub. What it returns is no reference until
    /// it is declared to be one.
    pub(super) fn host(&self, name: &str, args: &[Value]) -> Value {
        let found = HELPERS.iter().find(|(known, ..)| *known == name);
        let (name, _, params) = found.expect("a function of the host");
        assert_eq!(*params, args.len(), "{name}");
        let callee = self.func_ref(&Unit::Exit(name, *params));
        let call = self.ins(|ins| ins.call(callee, &[&[self.ctx], args].concat()));
        self.b().inst_results(call)[0]
    }

    /// [`Body::host`] of a function that may panic in Go's sense.
    pub(super) fn host_checked(&self, name: &str, args: &[Value]) -> Value {
        let result = self.host(name, args);
        self.check_panic();
        result
    }

    /// The low bits of a word as one of another width: what the host takes or returns has 64.
    pub(super) fn recast(&self, value: Value, to: Type) -> Value {
        let (from, flags) = (self.type_of(value), MemFlagsData::new());
        let bits = match from.is_float() {
            true => self.ins(|ins| ins.bitcast(from.as_int(), flags, value)),
            false => value,
        };
        let bits = match to.bits().cmp(&from.bits()) {
            Ordering::Less => self.ins(|ins| ins.ireduce(to.as_int(), bits)),
            Ordering::Equal => bits,
            Ordering::Greater => self.ins(|ins| ins.uextend(to.as_int(), bits)),
        };
        match to.is_float() {
            true => self.ins(|ins| ins.bitcast(to, flags, bits)),
            false => bits,
        }
    }

    /// [`Body::host_checked`] with the number of a type before the arguments.
    pub(super) fn host_of(&self, name: &str, ty: Ty, args: &[Value]) -> Value {
        self.host_checked(name, &[&[self.type_number(ty)], args].concat())
    }

    /// Leaves a value in the context for the host.
    pub(super) fn leave_in_buffer(&self, ty: Ty, values: &[Value]) {
        self.store(ty, values, self.ctx, ctx::BUFFER);
    }

    /// The value that the host has left as its results.
    pub(super) fn left(&self, ty: Ty) -> Vals {
        self.results(&self.words(ty), &[])
    }

    /// Results, of which the first ones are in registers, and others in the context.
    pub(super) fn results(&self, words: &[Word], first: &[Value]) -> Vals {
        let result = |(index, word): (usize, &Word)| match first.get(index) {
            Some(value) => self.declared_as(word, *value),
            None => {
                let word = Word { offset: 0, ..*word };
                self.load_word(&word, self.ctx, ctx::RESULTS + 8 * index as i32)
            }
        };
        words.iter().enumerate().map(result).collect()
    }

    /// The results of a call of generated code, if it does not panic.
    pub(super) fn returned(&self, call: Inst, words: &[Word]) -> Vals {
        let first = self.b().inst_results(call).to_vec();
        self.check_panic();
        self.results(words, &first)
    }
}
