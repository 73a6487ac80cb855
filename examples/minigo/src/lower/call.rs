//! Calls, methods, and closures.
#![forbid(unsafe_code)]

use cranelift_frontend::Variable;
use minigo_front::program::CallKind;

use super::*;

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn call(&self, expr: &'p Expr, call: &'p Call) -> Vals {
        if let Some(cell) = self.weak_cell(&call.callee) {
            // The word in the cell, or nil without a cell.
            let follow = || vec![self.load_reference(cell, 0)];
            return self.choose(&[REFERENCE], cell, follow, || vec![cell]);
        }
        if let Some((target, words)) = self.target_of(expr.id, call) {
            return self.call_target(&target, &words);
        }
        match self.p.call_kind(expr.id) {
            CallKind::Convert(ty) => self.conversion(&call.args[0], ty),
            CallKind::Builtin(builtin) => self.builtin(expr, builtin, call),
            CallKind::Function => unreachable!("it has a target"),
        }
    }

    /// What a weak pointer is, of an expression that selects the method that it has.
    fn weak_cell(&self, expr: &'p Expr) -> Option<Value> {
        let (Some(Selection::WeakValue), ExprKind::Selector(of, _)) =
            (self.p.selections.get(&expr.id), &expr.kind)
        else {
            return None;
        };
        let word = self.value(of)[0];
        if self.types.pointee(self.ty(of)).is_none() {
            return Some(word);
        }
        self.check_nil(word);
        Some(self.load_reference(word, 0))
    }

    /// What a call calls and all words that it is called with, if it is no call in name only.
    fn target_of(&self, id: ExprId, call: &'p Call) -> Option<(Target, Vals)> {
        if let Some(func) = self.p.literals.get(&id) {
            let args = self.arguments(call, self.p.func(*func).ty);
            return Some((Target::Func(*func), args));
        }
        if self.p.call_kind(id) != CallKind::Function {
            return None;
        }
        let (target, first) = self.callee(&call.callee);
        let args = self.arguments(call, self.ty(&call.callee));
        Some((target, [first, args].concat()))
    }

    fn callee(&self, expr: &'p Expr) -> (Target, Vals) {
        let known = self.function(expr.inside_parens());
        known.unwrap_or_else(|| (Target::Closure(self.ty(expr)), self.value(expr)))
    }

    /// The function or method that an expression names, and its receiver.
    pub(super) fn function(&self, expr: &'p Expr) -> Option<(Target, Vals)> {
        if let Some(cell) = self.weak_cell(expr) {
            return Some((self.lo().library("runtime.weakPointer.value"), vec![cell]));
        }
        let (target, path, owner) = match (self.p.selections.get(&expr.id), self.p.entity(expr)) {
            (Some(Selection::Method(path, owner, method)), _) => {
                (Target::Func(method.func), path, owner)
            }
            (Some(Selection::Abstract(path, owner, method)), _) => {
                (self.lo().abstract_target(method), path, owner)
            }
            (Some(Selection::MethodExpr(func)), _) | (_, Some(Entity::Func(func))) => {
                return Some((Target::Func(*func), Vals::new()));
            }
            _ => return None,
        };
        let ExprKind::Selector(of, _) = &expr.kind else {
            unreachable!("methods are selected");
        };
        let receiver = self.receiver((self.place(of), self.ty(of)), path, (&target, *owner));
        Some((target, receiver))
    }

    /// The receiver of a method, at the end of a path of fields: of the type that has the method,
    /// or a pointer to it.
    pub(super) fn receiver(&self, of: (Place, Ty), path: &[usize], method: (&Target, Ty)) -> Vals {
        let ((place, ty), (target, owner)) = (of, method);
        let (place, ty) = self.walk(place, ty, path);
        let wanted = match target {
            Target::Func(id) => self.p.func(*id).receiver_ty.unwrap_or(ty),
            _ => ty,
        };
        match wanted {
            _ if ty == wanted => self.read(&place, ty),
            _ if ty == owner => vec![self.address(&place, ty)],
            _ => self.read(&Place::Pointed(self.read(&place, ty)[0], 0), owner),
        }
    }

    /// Calls a target with all of its words.
    pub(super) fn call_target(&self, target: &Target, words: &[Value]) -> Vals {
        let ty = self.lo().type_of(target);
        match *target {
            Target::Func(id) if self.p.func(id).decl.body.is_none() => {
                let words: Vals = words.iter().map(|value| self.recast(*value, I64)).collect();
                let result = self.host_checked(&self.p.func(id).name, &words);
                let results = layout::words_of(self.types, &self.types.func(ty).results, 0);
                match &*results {
                    [word] => vec![self.declared_as(word, self.recast(result, word.clif))],
                    _ => self.results(&results, &[]),
                }
            }
            Target::Func(id) => {
                let results = layout::words_of(self.types, &self.types.func(ty).results, 0);
                let callee = self.func_ref(&Unit::Func(id));
                let args = [&[self.ctx, self.int(0)], words].concat();
                let call = self.ins(|ins| ins.call(callee, &args));
                self.returned(call, &results)
            }
            Target::Closure(_) => {
                self.check_nil(words[0]);
                self.call_address(self.load_int(words[0], 0), ty, words)
            }
            Target::Abstract(number, _) => {
                self.check_nil(words[0]);
                let methods = self.load_int(words[0], 0);
                let code = self.load_int(methods, 8 * number as i32);
                self.call_address(code, ty, &words[1..])
            }
        }
    }

    /// Calls code with a closure and arguments.
    fn call_address(&self, code: Value, ty: Ty, words: &[Value]) -> Vals {
        let (params, results) = self.lo().shape_of(&[], ty);
        let signature = self.lo().signature(&params, &results);
        let signature = self.b().import_signature(signature);
        let args = [&[self.ctx], words].concat();
        let call = self.ins(|ins| ins.call_indirect(signature, code, &args));
        self.returned(call, &results)
    }

    /// The arguments of a function of this type, the last ones packed if it is variadic.
    fn arguments(&self, call: &'p Call, ty: Ty) -> Vals {
        let sig = self.types.func(ty);
        let packs = sig.variadic && !call.spread;
        let several = match &*call.args {
            [one] => self.types.tuple(self.ty(one)),
            _ => None,
        };
        let count = several.map_or(call.args.len(), <[Ty]>::len);
        let wanted = self.types.arguments(sig, packs, count);
        let mut values = self.values_for(&call.args, &wanted);
        if let Some(last) = sig.params.last().filter(|_| packs) {
            let rest = values.split_off(sig.params.len() - 1);
            values.push(self.slice_of(self.types.elem(*last), &rest));
        }
        values.concat()
    }

    /// A slice of these values, nil if there are none.
    pub(super) fn slice_of(&self, elem: Ty, values: &[Vals]) -> Vals {
        let count = self.int(values.len() as i64);
        let at = match values.is_empty() {
            true => count,
            false => self.new_array(elem, count),
        };
        self.store_all(&vec![elem; values.len()], &values.concat(), at, 0);
        vec![at, count, count]
    }

    // Closures.

    /// A closure that calls a target with these words: the first ones, or all of them if the call
    /// is one for later.
    pub(super) fn bound(&self, target: &Target, words: &[Value], later: bool) -> Value {
        match (target, words) {
            (Target::Closure(_), [closure]) => return *closure,
            (Target::Abstract(..), _) => self.check_nil(words[0]),
            (Target::Func(id), []) if self.p.func(*id).decl.body.is_some() => {
                return self.closure_with(&Unit::Func(*id), &[], &[]);
            }
            _ => {}
        }
        let types = self.lo().bound_types(target, later);
        self.closure_with(&Unit::Bound(target.clone(), later), &types, words)
    }

    /// The closure of a call that `go` or `defer` makes, whose parts are evaluated now.
    pub(super) fn later(&self, expr: &'p Expr) -> Value {
        let expr = expr.inside_parens();
        let ExprKind::Call(call) = &expr.kind else {
            unreachable!("checked to be a call");
        };
        let target = self.target_of(expr.id, call);
        let (target, words) = target.expect("the checker has made a function for it");
        self.bound(&target, &words, true)
    }

    /// A function literal: its code, and what it captures.
    pub(super) fn literal(&self, id: FuncId) -> Value {
        let captures = &self.p.func(id).captures;
        let word = |variable: &Variable| self.b().use_var(*variable);
        let words = |var: &VarId| self.vars.borrow()[var].iter().map(word).collect::<Vals>();
        let values: Vals = captures.iter().flat_map(words).collect();
        self.closure_with(&Unit::Func(id), &self.captured(captures), &values)
    }

    /// The types of what a closure has of variables: their values, or their objects.
    fn captured(&self, captures: &[VarId]) -> Vec<Ty> {
        let ty = |var: &VarId| match self.p.var(*var).boxed {
            true => basic::UNSAFE_POINTER,
            false => self.var_ty(*var),
        };
        captures.iter().map(ty).collect()
    }

    /// Finds what the function has captured in its closure.
    pub(super) fn take_captures(&self, captures: &[VarId]) {
        let types = self.captured(captures);
        let words = self.load_all(&types, self.closure, 8);
        for ((var, ty), values) in captures.iter().zip(&types).zip(self.split(&words, &types)) {
            let variables = self.variables(*ty, &values);
            self.vars.borrow_mut().insert(*var, variables);
        }
    }

    /// A closure of a unit: its code's address, and values of these types.
    fn closure_with(&self, unit: &Unit, types: &[Ty], values: &[Value]) -> Value {
        if values.is_empty() {
            let code = self.lo().code(unit);
            let closure = self.lo().closure(code);
            return self.int(self.lo().keep(closure) as i64);
        }
        let texts = types.iter().enumerate();
        let texts = texts.map(|(index, ty)| format!("; v{index} {}", self.heap_text(*ty)));
        let text = format!("struct {{ code uintptr{} }}", texts.collect::<String>());
        let closure = self.new_of(&text);
        let callee = self.func_ref(unit);
        let address = self.ins(|ins| ins.func_addr(I64, callee));
        self.store_int(address, closure, 0);
        self.store_all(types, values, closure, 8);
        closure
    }
}
