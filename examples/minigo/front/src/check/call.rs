//! Calls of functions, conversions, and calls of builtin functions.

use super::*;

/// Checks that there are enough arguments or results, and not too many.
pub(super) fn count(n: usize, (least, most): (usize, usize), pos: Pos, what: &str) -> Checked<()> {
    ensure(n >= least, pos, format!("not enough {what}"))?;
    ensure(n <= most, pos, format!("too many {what}"))
}

impl Checker {
    pub(super) fn call(&mut self, expr: &Expr, call: &Call) -> Checked<Operand> {
        self.effects += 1;
        let callee = self.operand(&call.callee)?;
        match callee.mode {
            Mode::Type => {
                let [argument] = &*call.args else {
                    return fault(expr.pos, "conversion needs one argument");
                };
                self.out.calls.insert(expr.id, CallKind::Convert(callee.ty));
                let operand = self.expr(argument)?;
                if let Some(name) = self.types.conversion_of_text(operand.ty, callee.ty) {
                    self.in_library(expr, ("runtime", name))?;
                }
                self.conversion(operand, callee.ty)
            }
            Mode::Builtin(builtin) => {
                self.out.calls.insert(expr.id, CallKind::Builtin(builtin));
                self.builtin(expr, builtin, call)
            }
            Mode::NoValue | Mode::Nil => fault(callee.pos, "cannot call this"),
            _ => {
                let Kind::Func(sig) = self.kind(callee.ty) else {
                    let message = illegal("cannot call value of type %T");
                    return self.wrong(callee.pos, &message, &[callee.ty]);
                };
                self.arguments(call, &sig, expr.pos)?;
                Ok(match &*sig.results {
                    [] => Operand::nothing(),
                    [one] => Operand::value(*one),
                    _ => Operand::value(self.types.intern(Kind::Tuple(sig.results))),
                })
            }
        }
    }

    /// Checks the arguments of a function; several may come from one call.
    fn arguments(&mut self, call: &Call, sig: &Sig, pos: Pos) -> Checked<()> {
        let values = self.values(&call.args, 0)?;
        let spread = sig.variadic || !call.spread;
        ensure(spread, pos, "have (...) but function is not variadic")?;
        let packs = sig.variadic && !call.spread;
        let wanted = self.types.arguments(sig, packs, values.len());
        let least = sig.params.len() - usize::from(packs);
        let range = (least, wanted.len());
        count(values.len(), range, pos, "arguments in call")?;
        let wanted: Vec<_> = wanted.into_iter().map(Some).collect();
        self.give(&values, &wanted, "argument").map(drop)
    }

    fn builtin(&mut self, expr: &Expr, builtin: Builtin, call: &Call) -> Checked<Operand> {
        use Builtin::*;
        let (_, _, name, least, most, library) = BUILTINS[builtin as usize];
        let (pos, effects) = (expr.pos, self.effects);
        let mut args = Vec::new();
        if let ([only], false) = (&*call.args, matches!(builtin, Make | New)) {
            let operand = self.operand(only)?;
            if let Kind::Tuple(types) = self.types.own_kind(operand.ty) {
                return self.with_results(expr, builtin, call, types.clone());
            }
            args.push(self.single(operand)?);
        }
        count(call.args.len(), (least, most), pos, "arguments in call")?;
        let spread = call.spread && builtin != Append;
        ensure(!spread, pos, illegal("invalid use of ... in call"))?;
        // What `make` and `new` have first is a type.
        let typed = usize::from(matches!(builtin, Make | New));
        let (types, values) = call.args.split_at(typed);
        let ty = types.first().map(|ty| self.ty(ty)).transpose()?;
        for arg in &values[args.len()..] {
            args.push(self.expr(arg)?);
        }
        let ty = ty.or(args.first().map(|arg| arg.ty)).unwrap_or(basic::VOID);
        let at = call.args.first().map_or(pos, |arg| arg.pos);
        let int = Operand::value(basic::INT);
        let length = |n| Operand::new(Mode::Const(Const::Int(n)), basic::INT);
        let nothing = |()| Operand::nothing();
        // Arrays have their length also behind a pointer.
        let measured = matches!(builtin, Len | Cap).then(|| self.types.indexed(ty));
        let kind = self.kind(measured.unwrap_or(ty));
        let library = match (builtin, &kind) {
            (Clear, Kind::Map(..)) => Some(("runtime", "clearMap")),
            (Len, Kind::Map(..)) => Some(("runtime", "mapLen")),
            (Len, Kind::Chan(..)) => Some(("channel", "length")),
            (Cap, Kind::Chan(..)) => Some(("channel", "capacity")),
            _ => library,
        };
        if let Some(function) = library {
            self.in_library(expr, function)?;
        }
        match (builtin, kind) {
            (New, _) => Ok(Operand::value(self.types.pointer(ty))),
            (Make, _) => self.make(pos, Operand::value(ty).at(at), &args),
            (Recover, _) => Ok(Operand::value(Types::ANY)),
            (Print | Println, _) => {
                self.give(&args, &vec![None; args.len()], "argument")?;
                use Kind::{Array, Interface, Slice, Struct, Weak};
                let hidden = |ty: Ty| {
                    let kind = self.types.kind(ty);
                    matches!(
                        kind,
                        Slice(_) | Array(..) | Struct(_) | Interface(_) | Weak(_)
                    )
                };
                let outside = args.iter().find(|arg| hidden(arg.ty));
                let pos = outside.map_or(pos, |arg| arg.pos);
                let message = "print of such values is outside minigo's subset";
                ensure(outside.is_none(), pos, message).map(nothing)
            }
            (Len, _) if self.types.is_string(ty) => Ok(match args[0].constant() {
                Some(Const::Str(bytes)) => length(bytes.len() as i128),
                _ => int,
            }),
            // It is no constant if something is called or received for it.
            (Len | Cap, Kind::Array(n, _)) if self.effects == effects => Ok(length(n.into())),
            (Len | Cap, Kind::Array(..) | Kind::Slice(_) | Kind::Chan(..)) => Ok(int),
            (Len, Kind::Map(..)) => Ok(int),
            (Append, Kind::Slice(elem)) => {
                self.append(call.spread, &args, elem)?;
                Ok(Operand::value(ty))
            }
            (Append, _) => fault(at, "invalid argument for built-in append: not a slice"),
            (Copy, Kind::Slice(elem)) => {
                let fits = match *self.types.kind(args[1].ty) {
                    Kind::Slice(from) => from == elem,
                    _ => self.types.is_string(args[1].ty) && elem == basic::UINT8,
                };
                ensure(fits, args[1].pos, "invalid argument for built-in copy")?;
                Ok(int)
            }
            (Delete, Kind::Map(key, _)) => {
                let fits = self.assignable(&args[1], key, "argument to delete");
                fits.map(nothing)
            }
            (Close, Kind::Chan(Dir::Receive, _)) => fault(at, "cannot close receive-only channel"),
            (Clear, Kind::Map(..) | Kind::Slice(_)) | (Close, Kind::Chan(..)) => {
                Ok(Operand::nothing())
            }
            (Panic, _) => {
                let fits = self.assignable(&args[0], Types::ANY, "argument to panic");
                fits.map(nothing)
            }
            (Min | Max, _) => self.min_max(pos, &args, if builtin == Min { "<" } else { ">" }),
            (AddCleanup, Kind::Pointer(_)) => self.add_cleanup(&args),
            (AddCleanup, _) => fault(at, "runtime.AddCleanup: argument 1 is not a pointer"),
            (WeakMake, Kind::Pointer(to)) => Ok(Operand::value(self.types.intern(Kind::Weak(to)))),
            (WeakMake, _) => fault(at, "weak.Make: argument is not a pointer"),
            _ => {
                let message = format!("invalid argument for built-in {name}: value of type %T");
                self.wrong(at, &message, &[ty])
            }
        }
    }

    /// Notes that a call is one of a function of the library.
    fn in_library(&mut self, expr: &Expr, (package, name): InLibrary) -> Checked<()> {
        match self.member(&package.into(), &name.into(), expr.pos)? {
            Some(Entity::Func(func)) => {
                self.out.literals.insert(expr.id, func);
                Ok(())
            }
            _ => fault(expr.pos, format!("undefined: {package}.{name}")),
        }
    }

    /// A builtin function whose arguments are the results of a call. A function around it is called
    /// with them.
    fn with_results(
        &mut self,
        expr: &Expr,
        builtin: Builtin,
        call: &Call,
        params: Vec<Ty>,
    ) -> Checked<Operand> {
        let results = match builtin {
            Builtin::Append | Builtin::Min | Builtin::Max => vec![params[0]],
            Builtin::Copy => vec![basic::INT],
            _ => Vec::new(),
        };
        let sig = Sig {
            params,
            variadic: false,
            results: results.clone(),
        };
        self.around(expr, sig, &call.callee)?;
        Ok(results
            .first()
            .map_or(Operand::nothing(), |ty| Operand::value(*ty)))
    }

    /// Makes the function that a call of a builtin function is a call of.
    pub(super) fn around(&mut self, expr: &Expr, sig: Sig, callee: &Expr) -> Checked<()> {
        let returns = !sig.results.is_empty();
        let func = self.made_func(expr.pos, sig, |this, args| {
            let call = Call {
                callee: callee.clone(),
                args,
                spread: false,
            };
            this.call_stmt(expr.pos, call, returns)
        })?;
        self.out.literals.insert(expr.id, func);
        Ok(())
    }

    /// The statement that makes a call, and returns what that returns.
    pub(super) fn call_stmt(&mut self, pos: Pos, call: Call, returns: bool) -> StmtKind {
        let call = self.new_expr(pos, ExprKind::Call(Box::new(call)));
        match returns {
            true => StmtKind::Return(vec![call]),
            false => StmtKind::Expr(call),
        }
    }

    fn make(&self, pos: Pos, made: Operand, sizes: &[Operand]) -> Checked<Operand> {
        let mut known = Vec::new();
        for size in sizes {
            let constant = "invalid argument: size must be a non-negative integer";
            let other = "invalid argument: size must be an integer";
            known.push(self.int(size, 0, [constant, other].map(String::from))?);
            for value in size.constant().into_iter().chain(&size.pending) {
                self.represent(value, basic::INT, size.pos)?;
            }
        }
        match (self.types.kind(made.ty), &*known) {
            (Kind::Slice(_), []) => fault(pos, illegal("make expects 2 or 3 arguments")),
            (Kind::Slice(_), [Some(len), Some(cap)]) if len > cap => fault(
                sizes[0].pos,
                "invalid argument: length and capacity swapped",
            ),
            (Kind::Chan(_, elem), _) if self.types.size(*elem) >= 1 << 16 => {
                fault(made.pos, "channel element type too large (>64kB)")
            }
            (Kind::Slice(_), _) | (Kind::Map(..) | Kind::Chan(..), [] | [_]) => Ok(made),
            _ => self.wrong(made.pos, "invalid argument: cannot make %T", &[made.ty]),
        }
    }

    fn append(&mut self, spread: bool, args: &[Operand], elem: Ty) -> Checked<()> {
        let rest = &args[1..];
        if !spread {
            let wanted = vec![Some(elem); rest.len()];
            return self.give(rest, &wanted, "argument to append").map(drop);
        }
        let [second] = rest else {
            return fault(args[0].pos, "can only use ... with one argument");
        };
        let text = self.types.is_string(second.ty) && elem == basic::UINT8;
        if text || second.mode == Mode::Nil {
            return Ok(());
        }
        let slice = self.types.intern(Kind::Slice(elem));
        let unnamed = Operand::value(self.types.underlying(second.ty));
        self.assignable(&unnamed.at(second.pos), slice, "argument")
    }

    fn min_max(&self, pos: Pos, args: &[Operand], op: &str) -> Checked<Operand> {
        let types = args.iter().map(|arg| arg.ty);
        let typed = types.clone().find(|ty| !self.types.is_untyped(*ty));
        let ty = typed.or(types.max()).unwrap_or(basic::INT);
        let ordered = self.types.is_number(ty) || self.types.is_string(ty);
        self.require(ordered, pos, &illegal("%T cannot be ordered"), &[ty])?;
        self.give(args, &vec![Some(ty); args.len()], "argument")?;
        let constant = |arg: &Operand| represent(&self.types, arg.constant()?, ty).ok();
        let constants = args.iter().map(constant).collect::<Option<Vec<Const>>>();
        let better = |a, b| match constant::binary(op, &b, &a) {
            Some(Const::Bool(true)) => b,
            _ => a,
        };
        let best = constants.and_then(|all| all.into_iter().reduce(better));
        Ok(Operand::new(best.map_or(Mode::Value, Mode::Const), ty))
    }

    fn add_cleanup(&mut self, args: &[Operand]) -> Checked<Operand> {
        let param = match self.types.sig(args[1].ty) {
            Some(sig) if !sig.variadic && sig.results.is_empty() => &*sig.params,
            _ => &[],
        };
        let &[param] = param else {
            return fault(args[1].pos, "runtime.AddCleanup: argument 2 is no func(S)");
        };
        self.assignable(&args[2], param, "argument")?;
        match self.member(&"runtime".into(), &"Cleanup".into(), args[0].pos)? {
            Some(Entity::Type(ty)) => Ok(Operand::value(ty)),
            _ => fault(args[0].pos, "undefined: runtime.Cleanup"),
        }
    }
}
