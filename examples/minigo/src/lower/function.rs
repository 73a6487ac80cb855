//! Functions of the program, and their deferred calls.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::types::I64;
use cranelift_module::{FuncId as Code, Linkage, Module};

use super::Lower;
use super::body::{Body, Made, Vals};
use crate::ast::*;
use crate::check::entity::Func;

impl<'p> Body<'_, '_, 'p> {
    /// Makes a function of the program.
    pub(super) fn function(lo: &mut Lower<'p>, index: usize) -> Made<()> {
        let func: &'p Func = &lo.p.funcs[index];
        let Some(block) = func.body.block() else {
            return Ok(());
        };
        let code = lo.func(index);
        let (params, results) = (lo.func_params(func), lo.results(func.ty));
        let signature = lo.signature(&params, &results);
        lo.write(code, signature, results, Some(func), |body, args| {
            for (word, value) in params.iter().zip(&args) {
                if word.reference {
                    body.reference(*value);
                }
            }
            body.check_stack();
            body.safepoint();
            body.take_captures(&func.captures);
            let mut rest = &*args;
            for var in func.receiver.iter().chain(&func.params) {
                let ty = body.lo.p.vars[var.0 as usize].ty;
                let count = body.lo.p.types.word_count(ty) as usize;
                body.make_var(*var, Some(&rest[..count]))?;
                rest = &rest[count..];
            }
            for var in &func.results {
                body.make_var(*var, None)?;
            }
            if func.has_defer {
                let deferred = body.reference_variable();
                let nothing = body.int(0);
                body.b.def_var(deferred, nothing);
                body.deferred = Some(deferred);
            }
            body.stmts(&block.stmts)?;
            body.return_results(func)?;
            body.run_deferred(func)
        })
    }

    /// Makes the function that initializes the globals and calls `main`.
    pub(super) fn start(lo: &mut Lower<'p>) -> Made<Code> {
        let signature = lo.signature(&[], &[]);
        let code = lo
            .module
            .declare_function("start", Linkage::Local, &signature);
        let code = code.map_err(|error| error.to_string())?;
        let p = lo.p;
        lo.write(code, signature, Vec::new(), None, |body, _| {
            for global in &p.globals {
                let spec: &'p ValueSpec = &global.spec;
                if !spec.values.is_empty() {
                    body.assign_all(&spec.names, &spec.values)?;
                }
            }
            for func in p.inits.iter().chain([&p.main]) {
                body.call_function(*func, &[])?;
            }
            body.b.ins().return_(&[]);
            Ok(())
        })?;
        Ok(code)
    }

    /// Returns what is in the variables of the results, through the deferred calls if there are
    /// any.
    pub(super) fn return_results(&mut self, func: &Func) -> Made<()> {
        if self.deferred.is_some() {
            self.b.ins().jump(self.unwind, &[]);
            return Ok(());
        }
        let values = self.result_values(func)?;
        self.return_values(&values);
        Ok(())
    }

    fn result_values(&mut self, func: &Func) -> Made<Vals> {
        let mut values = Vec::new();
        for var in &func.results {
            let place = self.var_place(*var);
            let ty = self.lo.p.vars[var.0 as usize].ty;
            values.extend(self.read(&place, ty)?);
        }
        Ok(values)
    }

    /// Where a function that defers ends: runs the deferred calls, also while it panics.
    fn run_deferred(&mut self, func: &Func) -> Made<()> {
        let Some(deferred) = self.deferred else {
            return Ok(());
        };
        self.b.switch_to_block(self.unwind);
        let fp = self.b.ins().get_frame_pointer(I64);
        self.host("defer_begin", &[fp]);
        let (head, call, done) = (
            self.b.create_block(),
            self.b.create_block(),
            self.b.create_block(),
        );
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(head);
        let first = self.b.use_var(deferred);
        self.b.ins().brif(first, call, &[], done, &[]);
        self.b.switch_to_block(call);
        let next = self.load_int(first, 0);
        let next = self.reference(next);
        self.b.def_var(deferred, next);
        let closure = self.load_int(first, 8);
        let closure = self.reference(closure);
        let address = self.load_int(closure, 0);
        let signature = self.param_signature(2);
        let signature = self.b.import_signature(signature);
        self.b
            .ins()
            .call_indirect(signature, address, &[self.ctx, closure]);
        let fp = self.b.ins().get_frame_pointer(I64);
        self.host("defer_after", &[fp]);
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(done);
        let fp = self.b.ins().get_frame_pointer(I64);
        self.host("defer_end", &[fp]);
        let values = self.result_values(func)?;
        self.return_values(&values);
        Ok(())
    }
}
