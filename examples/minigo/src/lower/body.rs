//! One function on its way to Cranelift's instructions: values, memory, calls, checks.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{
    AbiParam, Block, FuncRef, InstBuilder, MemFlagsData, Signature, Type, Value,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_module::{FuncId as Code, Module};

use super::{Lower, RESULTS};
use crate::check::entity::{Func, FuncId, VarId};
use crate::layout::Word;
use crate::run::ctx;
use crate::types::Ty;

/// The words of a value.
pub(super) type Vals = Vec<Value>;

/// Why a function could not be made: a limit of minigo's or of Cranelift's.
pub(super) type Made<T> = Result<T, String>;

/// Where a variable is.
#[derive(Clone, Debug)]
pub(super) enum Storage {
    Words(Vec<Variable>),
    /// In an object, whose address is in a variable.
    Object(Variable),
    /// At an address outside the heap.
    Global(usize),
}

/// What `break` and `continue` leave.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) label: Option<crate::ast::Name>,
    pub(super) end: Block,
    pub(super) next: Option<Block>,
}

pub(super) struct Body<'a, 'f, 'p> {
    pub(super) lo: &'a mut Lower<'p>,
    pub(super) b: FunctionBuilder<'f>,
    pub(super) ctx: Value,
    pub(super) closure: Value,
    pub(super) vars: HashMap<VarId, Storage>,
    pub(super) func: Option<&'p Func>,
    pub(super) results: Vec<Word>,
    pub(super) targets: Vec<Target>,
    /// Where a panic goes on: to the deferred calls, or out of the function.
    pub(super) unwind: Block,
    /// The list of deferred calls, in functions that have any.
    pub(super) deferred: Option<Variable>,
    refs: HashMap<Code, FuncRef>,
    pub(super) nil: Option<Block>,
    pub(super) label: Option<crate::ast::Name>,
}

impl<'p> Lower<'p> {
    /// Runs `write` with a builder of a function, and defines that.
    pub(super) fn write(
        &mut self,
        code: Code,
        signature: Signature,
        results: Vec<Word>,
        func: Option<&'p Func>,
        write: impl FnOnce(&mut Body<'_, '_, 'p>, Vals) -> Made<()>,
    ) -> Made<()> {
        let mut context = std::mem::replace(&mut self.context, self.module.make_context());
        let mut parts = std::mem::replace(&mut self.builder, FunctionBuilderContext::new());
        context.func.signature = signature;
        let mut b = FunctionBuilder::new(&mut context.func, &mut parts);
        let block = b.create_block();
        b.append_block_params_for_function_params(block);
        b.switch_to_block(block);
        let params = b.block_params(block).to_vec();
        let unwind = b.create_block();
        b.declare_value_needs_stack_map(params[1]);
        let mut body = Body {
            lo: self,
            ctx: params[0],
            closure: params[1],
            b,
            vars: HashMap::new(),
            func,
            results,
            targets: Vec::new(),
            unwind,
            deferred: None,
            refs: HashMap::new(),
            nil: None,
            label: None,
        };
        write(&mut body, params[2..].to_vec())?;
        body.finish();
        self.context = context;
        self.builder = parts;
        self.define(code)
    }
}

impl Body<'_, '_, '_> {
    fn finish(mut self) {
        if self.deferred.is_none() {
            self.b.switch_to_block(self.unwind);
            self.return_zeros();
        }
        if let Some(nil) = self.nil {
            self.b.switch_to_block(nil);
            self.host("panic_nil", &[]);
            self.b.ins().jump(self.unwind, &[]);
        }
        self.b.seal_all_blocks();
        let config = self.lo.module.target_config();
        self.b.finalize(config);
    }

    fn return_zeros(&mut self) {
        let words: Vec<Word> = self.results.iter().take(RESULTS).copied().collect();
        let zeros: Vals = words.iter().map(|word| self.zero_word(word.clif)).collect();
        self.b.ins().return_(&zeros);
    }

    // ------------------------------------------------------------------------------------------
    // values

    pub(super) fn int(&mut self, value: i64) -> Value {
        self.b.ins().iconst(I64, value)
    }

    pub(super) fn zero_word(&mut self, ty: Type) -> Value {
        match ty {
            F64 => self.b.ins().f64const(0.0),
            F32 => self.b.ins().f32const(0.0),
            _ => self.b.ins().iconst(ty, 0),
        }
    }

    pub(super) fn words(&self, ty: Ty) -> Made<Vec<Word>> {
        let types = &self.lo.p.types;
        if types.word_count(ty) > crate::layout::MAX_WORDS as u64 {
            let (ty, most) = (types.show(ty), crate::layout::MAX_WORDS);
            return Err(format!(
                "copying a {ty} is outside minigo's subset: over {most} words"
            ));
        }
        Ok(types.words(ty))
    }

    pub(super) fn zeros(&mut self, ty: Ty) -> Made<Vals> {
        let words = self.words(ty)?;
        Ok(words.iter().map(|word| self.zero_word(word.clif)).collect())
    }

    /// Declares a value to be a reference.
    pub(super) fn reference(&mut self, value: Value) -> Value {
        self.b.declare_value_needs_stack_map(value);
        value
    }

    pub(super) fn variables(&mut self, ty: Ty) -> Made<Vec<Variable>> {
        let words = self.words(ty)?;
        Ok(words.iter().map(|word| self.variable(word)).collect())
    }

    fn variable(&mut self, word: &Word) -> Variable {
        let variable = self.b.declare_var(word.clif);
        if word.reference {
            self.b.declare_var_needs_stack_map(variable);
        }
        variable
    }

    pub(super) fn reference_variable(&mut self) -> Variable {
        let variable = self.b.declare_var(I64);
        self.b.declare_var_needs_stack_map(variable);
        variable
    }

    pub(super) fn get(&mut self, variables: &[Variable]) -> Vals {
        variables
            .iter()
            .map(|variable| self.b.use_var(*variable))
            .collect()
    }

    pub(super) fn set(&mut self, variables: &[Variable], values: &[Value]) {
        for (variable, value) in variables.iter().zip(values) {
            self.b.def_var(*variable, *value);
        }
    }

    // ------------------------------------------------------------------------------------------
    // calls

    pub(super) fn func_ref(&mut self, code: Code) -> FuncRef {
        if let Some(found) = self.refs.get(&code) {
            return *found;
        }
        let found = self.lo.module.declare_func_in_func(code, self.b.func);
        self.refs.insert(code, found);
        found
    }

    /// Calls a function of the host through its exit stub. What it returns is no reference until
    /// it is declared to be one.
    pub(super) fn host(&mut self, name: &str, args: &[Value]) -> Value {
        let exit = self.lo.exit(name);
        assert_eq!(exit.params, args.len(), "{name}");
        let callee = self.func_ref(exit.code);
        let args: Vals = [self.ctx].into_iter().chain(args.iter().copied()).collect();
        let call = self.b.ins().call(callee, &args);
        self.b.inst_results(call)[0]
    }

    /// [`Body::host`] of a function that may panic in Go's sense.
    pub(super) fn host_checked(&mut self, name: &str, args: &[Value]) -> Value {
        let result = self.host(name, args);
        self.check_panic();
        result
    }

    /// A word of the results that the host has left in the context.
    pub(super) fn result(&mut self, index: i32, ty: Type, reference: bool) -> Value {
        let at = ctx::RESULTS + 8 * index;
        let value = self.b.ins().load(ty, MemFlagsData::trusted(), self.ctx, at);
        if reference {
            self.reference(value)
        } else {
            value
        }
    }

    pub(super) fn check_panic(&mut self) {
        let panicking = self.load_int(self.ctx, ctx::PANICKING);
        let go_on = self.b.create_block();
        self.b.ins().brif(panicking, self.unwind, &[], go_on, &[]);
        self.b.switch_to_block(go_on);
    }

    /// Calls a function of the program.
    pub(super) fn call_code(
        &mut self,
        code: Code,
        closure: Value,
        args: &[Value],
        results: &[Word],
    ) -> Vals {
        let callee = self.func_ref(code);
        let args: Vals = [self.ctx, closure]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        let call = self.b.ins().call(callee, &args);
        let first = self.b.inst_results(call).to_vec();
        self.take_results(first, results)
    }

    /// Calls the function at an address.
    pub(super) fn call_address(
        &mut self,
        address: Value,
        closure: Value,
        args: (&[Word], &[Value]),
        results: &[Word],
    ) -> Vals {
        let signature = self.lo.signature(args.0, results);
        let signature = self.b.import_signature(signature);
        let args: Vals = [self.ctx, closure]
            .into_iter()
            .chain(args.1.iter().copied())
            .collect();
        let call = self.b.ins().call_indirect(signature, address, &args);
        let first = self.b.inst_results(call).to_vec();
        self.take_results(first, results)
    }

    fn take_results(&mut self, first: Vals, results: &[Word]) -> Vals {
        self.check_panic();
        let mut values = Vec::new();
        for (index, word) in results.iter().enumerate() {
            values.push(match first.get(index) {
                Some(value) if word.reference => self.reference(*value),
                Some(value) => *value,
                None => self.result(index as i32, word.clif, word.reference),
            });
        }
        values
    }

    /// Returns values, the first ones in registers.
    pub(super) fn return_values(&mut self, values: &[Value]) {
        for (index, value) in values.iter().enumerate().skip(RESULTS) {
            self.store_int(*value, self.ctx, ctx::RESULTS + 8 * index as i32);
        }
        let first: Vals = values.iter().take(RESULTS).copied().collect();
        self.b.ins().return_(&first);
    }

    /// Calls a closure with arguments.
    pub(super) fn call_closure(&mut self, closure: Value, ty: Ty, args: &[Value]) -> Vals {
        self.check_nil(closure);
        let address = self.load_int(closure, 0);
        let (params, results) = (self.lo.params(ty), self.lo.results(ty));
        self.call_address(address, closure, (&params, args), &results)
    }

    // ------------------------------------------------------------------------------------------
    // words of the host

    /// A word as the host takes it.
    pub(super) fn host_word(&mut self, value: Value) -> Value {
        match self.b.func.dfg.value_type(value) {
            I64 => value,
            F64 => self.b.ins().bitcast(I64, MemFlagsData::new(), value),
            F32 => {
                let bits = self.b.ins().bitcast(I32, MemFlagsData::new(), value);
                self.b.ins().uextend(I64, bits)
            }
            _ => self.b.ins().uextend(I64, value),
        }
    }

    /// A word that the host has returned.
    pub(super) fn take_word(&mut self, value: Value, word: &Word) -> Value {
        match word.clif {
            I64 if word.reference => self.reference(value),
            I64 => value,
            F64 => self.b.ins().bitcast(F64, MemFlagsData::new(), value),
            F32 => {
                let bits = self.b.ins().ireduce(I32, value);
                self.b.ins().bitcast(F32, MemFlagsData::new(), bits)
            }
            ty => self.b.ins().ireduce(ty, value),
        }
    }

    pub(super) fn param_signature(&self, params: usize) -> Signature {
        let mut signature = Signature::new(self.lo.module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(I64); params];
        signature
    }

    pub(super) fn code_of(&mut self, func: FuncId) -> Code {
        self.lo.func(func.0 as usize)
    }
}
