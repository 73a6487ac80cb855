//! Calls.
#![forbid(unsafe_code)]

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::body::{Body, Made, Vals};
use super::place::Place;
use crate::ast::*;
use crate::check::entity::{CallKind, Entity, Func, FuncId, Selection};
use crate::layout::Word;
use crate::run::ctx;
use crate::types::{DeclaredMethod, Kind, Method, Ty};

/// What is called, with what it is called with besides the arguments.
pub(super) enum Callee {
    Function(FuncId, Vals),
    Closure(Value, Ty),
    /// The method's number and type, the interface's words.
    Abstract(usize, Ty, Vals),
}

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn call(&mut self, expr: &'p Expr, call: &'p Call) -> Made<Vals> {
        match self.lo.p.call_kind(expr.id) {
            CallKind::Convert(ty) => self.conversion(&call.args[0], ty),
            CallKind::Builtin(builtin) => self.builtin(expr, builtin, call),
            CallKind::Function => {
                if let Some(Selection::WeakValue) = self.lo.p.selections.get(&call.callee.id)
                    && let ExprKind::Selector(of, _) = &call.callee.kind
                {
                    let cell = self.value(of)?[0];
                    return Ok(vec![self.weak_value(cell)]);
                }
                let callee = self.callee(&call.callee)?;
                let ty = self.ty(&call.callee);
                let args = self.arguments(call, ty)?;
                self.call_callee(&callee, &args)
            }
        }
    }

    /// What a weak pointer points to: the word in its cell, or nil if there is no cell.
    fn weak_value(&mut self, cell: Value) -> Value {
        let word = Word {
            clif: I64,
            reference: true,
            offset: 0,
        };
        let (end, value) = self.block_of(&[word]);
        let (follow, nil) = self.branch_if(cell);
        self.b.switch_to_block(follow);
        let found = self.load_word(&word, cell, 0);
        self.jump(end, &[found]);
        self.b.switch_to_block(nil);
        self.jump(end, &[cell]);
        self.b.switch_to_block(end);
        value[0]
    }

    /// Evaluates what is called.
    pub(super) fn callee(&mut self, expr: &'p Expr) -> Made<Callee> {
        match &expr.kind {
            ExprKind::Paren(inner) => return self.callee(inner),
            ExprKind::Ident(_) => {
                if let Some(Entity::Func(func)) = self.lo.p.uses.get(&expr.id) {
                    return Ok(Callee::Function(*func, Vec::new()));
                }
            }
            ExprKind::Selector(of, _) => match self.lo.p.selections.get(&expr.id) {
                Some(Selection::Package(Entity::Func(func)) | Selection::MethodExpr(func)) => {
                    return Ok(Callee::Function(*func, Vec::new()));
                }
                Some(Selection::Method(path, declaring, method)) => {
                    let receiver = self.receiver(of, path, *declaring, method)?;
                    return Ok(Callee::Function(method.func, receiver));
                }
                Some(Selection::Abstract(path, interface, method)) => {
                    let receiver = self.interface_receiver(of, path, *interface)?;
                    let number = self.lo.method_number(&method.name, method.ty);
                    return Ok(Callee::Abstract(number, method.ty, receiver));
                }
                _ => {}
            },
            _ => {}
        }
        let closure = self.value(expr)?[0];
        Ok(Callee::Closure(closure, self.ty(expr)))
    }

    pub(super) fn call_callee(&mut self, callee: &Callee, args: &[Value]) -> Made<Vals> {
        match callee {
            Callee::Function(func, receiver) => {
                let all: Vals = receiver.iter().chain(args).copied().collect();
                self.call_function(*func, &all)
            }
            Callee::Closure(closure, ty) => Ok(self.call_closure(*closure, *ty, args)),
            Callee::Abstract(number, ty, receiver) => {
                Ok(self.call_abstract(*number, *ty, receiver, args))
            }
        }
    }

    /// Calls a method of an interface value.
    pub(super) fn call_abstract(
        &mut self,
        number: usize,
        ty: Ty,
        receiver: &[Value],
        args: &[Value],
    ) -> Vals {
        self.check_nil(receiver[0]);
        let methods = self.load_int(receiver[0], 0);
        let code = self.load_int(methods, 8 * number as i32);
        let (params, results) = (self.lo.params(ty), self.lo.results(ty));
        self.call_address(code, receiver[1], (&params, args), &results)
    }

    pub(super) fn call_function(&mut self, id: FuncId, args: &[Value]) -> Made<Vals> {
        let func: &'p Func = &self.lo.p.funcs[id.0 as usize];
        if func.body.block().is_none() {
            return self.call_host_function(func, args);
        }
        let results = self.lo.results(func.ty);
        let nothing = self.int(0);
        let code = self.code_of(id);
        Ok(self.call_code(code, nothing, args, &results))
    }

    /// Calls a function of the prelude that is written in Rust.
    fn call_host_function(&mut self, func: &'p Func, args: &[Value]) -> Made<Vals> {
        let Some(exit) = self.lo.helpers.get(&*func.name) else {
            return Err(format!("{} has no body", func.name));
        };
        let name = exit.name;
        let args: Vals = args.iter().map(|value| self.host_word(*value)).collect();
        let result = self.host_checked(name, &args);
        let words = self.lo.results(func.ty);
        if let [word] = &*words {
            return Ok(vec![self.take_word(result, word)]);
        }
        let mut values = Vec::new();
        for (index, word) in words.iter().enumerate() {
            values.push(self.result(index as i32, word.clif, word.reference));
        }
        Ok(values)
    }

    /// The arguments of a function of this type, the last ones packed if it is variadic.
    pub(super) fn arguments(&mut self, call: &'p Call, ty: Ty) -> Made<Vals> {
        let sig = self.lo.sig(ty);
        let mut found: Vec<(Vals, Ty)> = Vec::new();
        let packs = self.lo.p.packs(call, sig.variadic);
        let fixed = sig.params.len() - usize::from(packs);
        let elem = match sig.params.last().map(|ty| self.lo.p.types.kind(*ty)) {
            Some(Kind::Slice(elem)) => Some(*elem),
            _ => None,
        };
        let wanted = |index: usize| match elem {
            Some(elem) if packs && index >= fixed => elem,
            _ => sig.params[index],
        };
        if let [one] = &*call.args
            && let Kind::Tuple(types) = self.lo.p.types.own_kind(self.ty(one))
        {
            let mut values = self.value(one)?.into_iter();
            for (index, ty) in types.iter().enumerate() {
                let count = self.lo.p.types.word_count(*ty) as usize;
                let part: Vals = values.by_ref().take(count).collect();
                found.push((self.assign(part, *ty, wanted(index))?, wanted(index)));
            }
        } else {
            for (index, arg) in call.args.iter().enumerate() {
                found.push((self.value_as(arg, wanted(index))?, wanted(index)));
            }
        }
        let rest = found.split_off(fixed.min(found.len()));
        let mut values: Vals = found.into_iter().flat_map(|(values, _)| values).collect();
        if !packs {
            values.extend(rest.into_iter().flat_map(|(values, _)| values));
        } else if rest.is_empty() {
            let zero = self.int(0);
            values.extend([zero; 3]);
        } else if let Some(elem) = elem {
            let count = self.int(rest.len() as i64);
            let at = self.new_array(elem, count);
            let size = self.lo.p.types.size(elem) as i32;
            for (index, (part, _)) in rest.iter().enumerate() {
                self.store(elem, part, at, index as i32 * size)?;
            }
            values.extend([at, count, count]);
        }
        Ok(values)
    }

    /// The receiver that a method is called with.
    pub(super) fn receiver(
        &mut self,
        of: &'p Expr,
        path: &[usize],
        declaring: Ty,
        method: &DeclaredMethod,
    ) -> Made<Vals> {
        let of_ty = self.ty(of);
        let (last, pointer) = self.after_path(of_ty, path);
        debug_assert_eq!(last, declaring);
        if path.is_empty() {
            return match (method.by_pointer, pointer) {
                (true, true) => self.value(of),
                (true, false) => Ok(vec![self.address_of(of)?]),
                (false, true) => {
                    let at = self.value(of)?[0];
                    self.check_nil(at);
                    self.load(declaring, at, 0)
                }
                (false, false) => self.value(of),
            };
        }
        let place = self.field_place(of, path)?;
        self.receiver_at(place, declaring, pointer, method.by_pointer)
    }

    /// The type that fields lead to, without a pointer, and whether there is one.
    fn after_path(&self, ty: Ty, path: &[usize]) -> (Ty, bool) {
        let mut at = ty;
        for &index in path {
            at = self
                .lo
                .p
                .types
                .field(at, index)
                .map_or(at, |field| field.ty);
        }
        match *self.lo.p.types.own_kind(at) {
            Kind::Pointer(to) => (to, true),
            _ => (at, false),
        }
    }

    fn receiver_at(&mut self, place: Place, ty: Ty, pointer: bool, wanted: bool) -> Made<Vals> {
        if !pointer {
            return match (wanted, &place) {
                (true, Place::Memory(at, offset)) => Ok(vec![self.inside(*at, (*offset).into())]),
                (true, _) => unreachable!("checked to be addressable"),
                (false, _) => self.read(&place, ty),
            };
        }
        let at = match place {
            Place::Memory(at, offset) => {
                let at = self.load_int(at, offset);
                self.reference(at)
            }
            Place::Words(variables) => self.b.use_var(variables[0]),
            _ => unreachable!("checked to be a field"),
        };
        if wanted {
            return Ok(vec![at]);
        }
        self.check_nil(at);
        self.load(ty, at, 0)
    }

    /// The interface whose method is called.
    pub(super) fn interface_receiver(
        &mut self,
        of: &'p Expr,
        path: &[usize],
        interface: Ty,
    ) -> Made<Vals> {
        if path.is_empty() {
            return self.value(of);
        }
        let place = self.field_place(of, path)?;
        self.read(&place, interface)
    }

    /// The receiver of a method that an interface calls with its word for a value of this type.
    pub(super) fn wrapped_receiver(
        &mut self,
        word: Value,
        ty: Ty,
        path: &[usize],
        declaring: Ty,
        method: &DeclaredMethod,
    ) -> Made<Vals> {
        let start = self.lo.p.types.pointee(ty);
        let direct = self.lo.p.types.is_pointer_shaped(ty);
        if path.is_empty() {
            return match start {
                Some(_) if method.by_pointer => Ok(vec![word]),
                Some(_) => {
                    self.check_nil(word);
                    self.load(declaring, word, 0)
                }
                None if direct => Ok(vec![word]),
                None => self.load(ty, word, 0),
            };
        }
        self.check_nil(word);
        let place = self.walk(Place::Memory(word, 0), start.unwrap_or(ty), path)?;
        let (_, pointer) = self.after_path(ty, path);
        self.receiver_at(place, declaring, pointer, method.by_pointer)
    }

    /// The interface in a value whose embedded field it is.
    pub(super) fn wrapped_interface(&mut self, word: Value, ty: Ty, path: &[usize]) -> Made<Vals> {
        self.check_nil(word);
        let start = self.lo.p.types.pointee(ty).unwrap_or(ty);
        let place = self.walk(Place::Memory(word, 0), start, path)?;
        let (last, _) = self.after_path(ty, path);
        self.read(&place, last)
    }

    /// `recover()`.
    pub(super) fn recover(&mut self) -> Vals {
        let fp = self.b.ins().get_frame_pointer(I64);
        let caller = self.load_int(fp, 0);
        self.host("recover", &[caller]);
        vec![self.result(0, I64, false), self.result(1, I64, true)]
    }

    /// Says that this frame calls for the one around it, so that `recover` finds that.
    pub(super) fn calls_for_caller(&mut self, on: bool) {
        let fp = self.b.ins().get_frame_pointer(I64);
        let caller = self.load_int(fp, 0);
        let zero = self.int(0);
        self.store_int(if on { fp } else { zero }, self.ctx, ctx::BOUND_FRAME);
        self.store_int(caller, self.ctx, ctx::BOUND_CALLER);
    }

    /// A method of an interface as a value.
    pub(super) fn abstract_value(
        &mut self,
        receiver: &[Value],
        method: &Method,
        interface: Ty,
    ) -> Made<Vals> {
        self.check_nil(receiver[0]);
        let number = self.lo.method_number(&method.name, method.ty);
        let extra = super::Extra::AbstractValue(number, method.ty, interface);
        self.bound_closure(extra, &[interface], receiver)
    }

    pub(super) fn method_value(&mut self, func: FuncId, receiver: &[Value]) -> Made<Vals> {
        let Some(ty) = self.lo.p.funcs[func.0 as usize].receiver_ty else {
            unreachable!("a method has a receiver");
        };
        self.bound_closure(super::Extra::MethodValue(func, ty), &[ty], receiver)
    }
}
