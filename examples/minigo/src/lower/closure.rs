//! Closures: of function literals, of calls that are made later, of methods.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::Signature;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_module::FuncId as Code;

use super::body::{Body, Made, Storage, Vals};
use super::{Extra, Lower};
use crate::ast::Name;
use crate::check::entity::FuncId;
use crate::layout::Word;
use crate::types::{Kind, Member, Ty, basic};

/// The address of a block of memory outside the heap.
const BLOCK: Word = Word {
    clif: I64,
    reference: false,
    offset: 0,
};

impl<'p> Lower<'p> {
    pub(super) fn extra_signature(&self, extra: Extra) -> Signature {
        match self.extra_type(extra) {
            None if matches!(extra, Extra::Block(_)) => self.signature(&[BLOCK; 2], &[]),
            None => self.signature(&[], &[]),
            Some(ty) => self.signature(&self.params(ty), &self.results(ty)),
        }
    }

    /// The type of an extra function; none: `func()`.
    fn extra_type(&self, extra: Extra) -> Option<Ty> {
        match extra {
            Extra::Bound(_) | Extra::Close | Extra::Panic(_) | Extra::Block(_) => None,
            Extra::MethodValue(func, _) | Extra::Host(func) => {
                Some(self.p.funcs[func.0 as usize].ty)
            }
            Extra::AbstractValue(_, ty, _) => Some(ty),
            Extra::Wrapper(number, _) => Some(self.method_type(number)),
        }
    }

    fn method_type(&self, number: usize) -> Ty {
        let found = self.methods.iter().find(|(_, known)| **known == number);
        found.map_or(basic::VOID, |((_, ty), _)| *ty)
    }

    /// The number of a method `func() string` that the runtime calls, if any type has it.
    pub(super) fn text_method(&mut self, name: &str) -> Option<usize> {
        let is_text = |ty: &Ty| match self.p.types.own_kind(*ty) {
            Kind::Func(sig) => sig.params.is_empty() && sig.results == [basic::STRING],
            _ => false,
        };
        let ty = self.p.types.all().find(is_text)?;
        Some(self.method_number(&Name::from(name), ty))
    }

    /// The code of each method that a type has of those that interfaces have, by number.
    pub(super) fn method_table(&mut self, ty: Ty) -> Made<Vec<Option<Code>>> {
        let mut wanted: Vec<(Name, Ty, usize)> = Vec::new();
        for ((name, method_ty), number) in &self.methods {
            wanted.push((name.clone(), *method_ty, *number));
        }
        wanted.sort_by_key(|(_, _, number)| *number);
        let mut table = vec![None; wanted.len()];
        for (name, method_ty, number) in wanted {
            let found = self.p.types.find(ty, &name);
            let has = found.is_some_and(|found| match found.member {
                Member::Method(_, method) => method.ty == method_ty,
                Member::Abstract(_, method) => method.ty == method_ty && !found.path.is_empty(),
                Member::Field(_) => false,
            });
            if has && self.in_method_set(ty, &name) {
                table[number] = Some(self.extra(Extra::Wrapper(number, ty))?);
            }
        }
        Ok(table)
    }

    fn in_method_set(&self, ty: Ty, name: &str) -> bool {
        let types = &self.p.types;
        types
            .find(ty, name)
            .is_some_and(|found| match &found.member {
                Member::Method(_, method) => types.in_method_set(ty, &found, method),
                _ => true,
            })
    }

    /// The text of the heap's type of a closure with these values.
    fn closure_type(&mut self, types: &[Ty]) -> Made<String> {
        let mut text = "struct { code uintptr".to_owned();
        for (index, ty) in types.iter().enumerate() {
            let ty = self.heap.text(*ty)?;
            text.push_str(&format!("; v{index} {ty}"));
        }
        Ok(text + " }")
    }

    /// Where the values of a closure begin.
    fn closure_offsets(&self, types: &[Ty]) -> Vec<i32> {
        self.offsets_from(8, types)
    }

    /// Where values begin that lie in memory as a struct's fields do, from an offset on.
    fn offsets_from(&self, mut at: u64, types: &[Ty]) -> Vec<i32> {
        let place = |ty: &Ty| {
            let (size, align) = self.p.types.size_align(*ty);
            let offset = at.next_multiple_of(align);
            at = offset + size;
            offset as i32
        };
        types.iter().map(place).collect()
    }
}

impl<'p> Body<'_, '_, 'p> {
    /// The closure of a function literal: its code, and the objects of what it captures.
    pub(super) fn closure_of(&mut self, id: FuncId) -> Made<Vals> {
        let func = &self.lo.p.funcs[id.0 as usize];
        if func.captures.is_empty() {
            return self.static_closure(id);
        }
        let count = func.captures.len();
        let text = self.lo.closure_type(&vec![basic::UNSAFE_POINTER; count])?;
        let closure = self.new_of(&text)?;
        let code = self.code_of(id);
        self.set_code(closure, code);
        for (index, var) in func.captures.iter().enumerate() {
            let Some(Storage::Object(variable)) = self.vars.get(var) else {
                unreachable!("a captured variable is in an object");
            };
            let object = self.b.use_var(*variable);
            self.store_int(object, closure, 8 + 8 * index as i32);
        }
        Ok(vec![closure])
    }

    fn set_code(&mut self, closure: Value, code: Code) {
        let callee = self.func_ref(code);
        let address = self.b.ins().func_addr(I64, callee);
        self.store_int(address, closure, 0);
    }

    /// Finds what the function has captured in its closure.
    pub(super) fn take_captures(&mut self, captures: &[crate::check::entity::VarId]) {
        for (index, var) in captures.iter().enumerate() {
            let object = self.load_int(self.closure, 8 + 8 * index as i32);
            let object = self.reference(object);
            let variable = self.reference_variable();
            self.b.def_var(variable, object);
            self.vars.insert(*var, Storage::Object(variable));
        }
    }

    /// A closure of an extra function, with values of these types.
    pub(super) fn bound_closure(
        &mut self,
        extra: Extra,
        types: &[Ty],
        values: &[Value],
    ) -> Made<Vals> {
        let text = self.lo.closure_type(types)?;
        let closure = self.new_of(&text)?;
        let code = self.lo.extra(extra)?;
        self.set_code(closure, code);
        let offsets = self.lo.closure_offsets(types);
        let mut rest = values;
        for (ty, offset) in types.iter().zip(offsets) {
            let count = self.lo.p.types.word_count(*ty) as usize;
            self.store(*ty, &rest[..count], closure, offset)?;
            rest = &rest[count..];
        }
        Ok(vec![closure])
    }

    /// A closure of no parameters that calls this one with arguments.
    pub(super) fn bind(&mut self, function: Value, ty: Ty, args: &[Value]) -> Made<Value> {
        let sig = self.lo.sig(ty);
        if sig.params.is_empty() {
            return Ok(function);
        }
        let types = self.bound_types(ty);
        let values: Vals = [function].into_iter().chain(args.iter().copied()).collect();
        Ok(self.bound_closure(Extra::Bound(ty), &types, &values)?[0])
    }

    fn bound_types(&self, ty: Ty) -> Vec<Ty> {
        let params = self.lo.sig(ty).params.iter().copied();
        [basic::UNSAFE_POINTER].into_iter().chain(params).collect()
    }

    fn closure_values(&mut self, types: &[Ty]) -> Made<Vals> {
        let mut values = Vec::new();
        for (ty, offset) in types.iter().zip(self.lo.closure_offsets(types)) {
            values.extend(self.load(*ty, self.closure, offset)?);
        }
        Ok(values)
    }

    /// Makes an extra function.
    pub(super) fn extra(lo: &mut Lower<'p>, extra: Extra) -> Made<()> {
        let code = lo.extras[&extra];
        let signature = lo.extra_signature(extra);
        let results = lo.extra_type(extra).map_or(Vec::new(), |ty| lo.results(ty));
        lo.write(code, signature, results, None, |body, args| {
            let args = body.declare_params(extra, args);
            match extra {
                Extra::Bound(ty) => {
                    let types = body.bound_types(ty);
                    let values = body.closure_values(&types)?;
                    body.calls_for_caller(true);
                    body.call_closure(values[0], ty, &values[1..]);
                    body.calls_for_caller(false);
                    body.b.ins().return_(&[]);
                }
                Extra::MethodValue(func, ty) => {
                    let mut values = body.closure_values(&[ty])?;
                    values.extend(args);
                    let results = body.call_function(func, &values)?;
                    body.return_values(&results);
                }
                Extra::AbstractValue(number, ty, interface) => {
                    let receiver = body.closure_values(&[interface])?;
                    let results = body.call_abstract(number, ty, &receiver, &args);
                    body.return_values(&results);
                }
                Extra::Wrapper(number, ty) => body.wrapper(number, ty, &args)?,
                Extra::Host(func) => {
                    let results = body.call_function(func, &args)?;
                    body.return_values(&results);
                }
                Extra::Close => {
                    let chan = body.load_int(body.closure, 8);
                    body.host_checked("chan_close", &[chan]);
                    body.b.ins().return_(&[]);
                }
                Extra::Block(ty) => body.call_by_blocks(ty, args[0], args[1])?,
                Extra::Panic(any) => {
                    let value = body.closure_values(&[any])?;
                    body.host("panic_value", &value);
                    body.b.ins().jump(body.unwind, &[]);
                }
            }
            Ok(())
        })
    }

    /// Declares which arguments of an extra function are references.
    fn declare_params(&mut self, extra: Extra, args: Vals) -> Vals {
        let words = self
            .lo
            .extra_type(extra)
            .map_or(Vec::new(), |ty| self.lo.params(ty));
        for (word, value) in words.iter().zip(&args) {
            if word.reference {
                self.reference(*value);
            }
        }
        args
    }

    /// Calls this closure with the arguments in one block, and leaves its results in another.
    fn call_by_blocks(&mut self, ty: Ty, arguments: Value, results: Value) -> Made<()> {
        let sig = self.lo.sig(ty);
        let mut args = Vals::new();
        for (ty, offset) in sig.params.iter().zip(self.lo.offsets_from(0, &sig.params)) {
            args.extend(self.load(*ty, arguments, offset)?);
        }
        let found = self.call_closure(self.closure, ty, &args);
        let mut rest = &*found;
        for (ty, offset) in sig
            .results
            .iter()
            .zip(self.lo.offsets_from(0, &sig.results))
        {
            let (values, after) = rest.split_at(self.lo.p.types.word_count(*ty) as usize);
            self.store(*ty, values, results, offset)?;
            rest = after;
        }
        self.b.ins().return_(&[]);
        Ok(())
    }

    fn wrapper(&mut self, number: usize, ty: Ty, args: &[Value]) -> Made<()> {
        let names = self.lo.methods.iter();
        let name = names.into_iter().find(|(_, known)| **known == number);
        let Some(((name, _), _)) = name else {
            unreachable!("a wrapper is of a numbered method");
        };
        let name = name.clone();
        let Some(found) = self.lo.p.types.find(ty, &name) else {
            unreachable!("a wrapper is of a method that the type has");
        };
        // The host's panics, of a nil receiver, need a frame; the stack is checked by the method.
        let word = self.closure;
        let results = match found.member {
            Member::Method(declaring, method) => {
                let path = &found.path;
                let mut all = self.wrapped_receiver(word, ty, path, declaring, &method)?;
                all.extend(args);
                self.call_function(method.func, &all)?
            }
            Member::Abstract(_, method) => {
                let receiver = self.wrapped_interface(word, ty, &found.path)?;
                let inner = self.lo.method_number(&method.name, method.ty);
                self.call_abstract(inner, method.ty, &receiver, args)
            }
            Member::Field(_) => unreachable!("checked to be a method"),
        };
        self.return_values(&results);
        Ok(())
    }
}
