//! Builtin functions.
#![forbid(unsafe_code)]

use minigo_front::program::Builtin;

use super::*;

impl<'p> Body<'_, '_, 'p> {
    pub(super) fn builtin(&self, expr: &'p Expr, builtin: Builtin, call: &'p Call) -> Vals {
        let ty = self.ty(expr);
        let args = &*call.args;
        match builtin {
            Builtin::Append => self.append(ty, call),
            Builtin::Make => self.make(ty, args),
            Builtin::Len => vec![self.len(&args[0], false)],
            Builtin::Cap => vec![self.len(&args[0], true)],
            Builtin::New => vec![self.new_object(self.types.pointee(ty).unwrap_or(ty))],
            Builtin::Copy => self.copy(args),
            Builtin::Clear => {
                // Of a slice: those of maps are calls of the prelude.
                let elem = self.types.elem(self.ty(&args[0]));
                let slice = self.value(&args[0]);
                let zeros = self.new_array(elem, slice[1]);
                self.host("move", &[slice[0], zeros, self.bytes(elem, slice[1])]);
                Vals::new()
            }
            Builtin::AddCleanup => self.add_cleanup(ty, args),
            Builtin::Min | Builtin::Max => {
                let op = if builtin == Builtin::Min { "<" } else { ">" };
                let first = self.value_as(&args[0], ty);
                args[1..].iter().fold(first, |best, arg| {
                    self.better(op, &best, &self.value_as(arg, ty), ty)
                })
            }
            Builtin::Recover => {
                self.host("recover", &[self.frame()]);
                self.left(ty)
            }
            Builtin::Delete => {
                let (map_ty, map) = (self.ty(&args[0]), self.value(&args[0]));
                let (key_ty, _) = self.types.entry(map_ty);
                self.leave_in_buffer(key_ty, &self.value_as(&args[1], key_ty));
                self.host_of("map_delete", map_ty, &map);
                Vals::new()
            }
            _ => unreachable!("a call of a function"),
        }
    }

    fn len(&self, arg: &'p Expr, cap: bool) -> Value {
        let ty = self.ty(arg);
        if let Some((length, _)) = self.types.array(ty) {
            self.place(arg);
            return self.int(length as i64);
        }
        let value = self.value(arg);
        match self.types.kind(ty) {
            Kind::Slice(_) if cap => value[2],
            _ => value[1],
        }
    }

    fn make(&self, ty: Ty, args: &'p [Expr]) -> Vals {
        let size = |arg| self.index_value(arg);
        let sizes: Vals = args[1..].iter().map(size).collect();
        match *self.types.kind(ty) {
            Kind::Slice(elem) => {
                let (length, cap) = (sizes[0], sizes[sizes.len() - 1]);
                let at = self.host_of("make_slice", elem, &[length, cap]);
                vec![self.reference(at), length, cap]
            }
            Kind::Map(..) => vec![self.new_of(MAP)],
            _ => {
                let size = sizes.first().copied();
                let size = size.unwrap_or_else(|| self.int(0));
                self.library("channel.create", &[size])
            }
        }
    }

    fn append(&self, ty: Ty, call: &'p Call) -> Vals {
        let elem = self.types.elem(ty);
        let slice = self.value_as(&call.args[0], ty);
        let value = |arg: &'p Expr| match call.spread {
            true if self.types.is_string(self.ty(arg)) => self.value(arg),
            true => self.value_as(arg, ty),
            false => self.value_as(arg, elem),
        };
        let more: Vec<Vals> = call.args[1..].iter().map(value).collect();
        let count = match call.spread {
            true => more[0][1],
            false => self.int(more.len() as i64),
        };
        let length = self.ins(|ins| ins.iadd(slice[1], count));
        let above = self.compared(IntCC::UnsignedGreaterThan, length, slice[2]);
        let grow = || {
            let grown = self.host_of("grow", elem, &[slice[0], slice[1], slice[2], length]);
            vec![grown, self.left(basic::INT)[0]]
        };
        let same = || vec![slice[0], slice[2]];
        let grown = self.choose(&[REFERENCE, WORD], above, grow, same);
        let to = self.element(grown[0], elem, slice[1]);
        if call.spread {
            self.host("move", &[to, more[0][0], self.bytes(elem, count)]);
        } else {
            self.store_all(&vec![elem; more.len()], &more.concat(), to, 0);
        }
        vec![grown[0], length, grown[1]]
    }

    fn copy(&self, args: &'p [Expr]) -> Vals {
        let elem = self.types.elem(self.ty(&args[0]));
        let (to, from) = (self.value(&args[0]), self.value(&args[1]));
        let less = self.compared(IntCC::SignedLessThan, to[1], from[1]);
        let count = self.ins(|ins| ins.select(less, to[1], from[1]));
        self.host("move", &[to[0], from[0], self.bytes(elem, count)]);
        vec![count]
    }

    /// The less or greater one of two values, as the operator says; a NaN of floats.
    fn better(&self, op: &str, a: &[Value], b: &[Value], ty: Ty) -> Vals {
        if self.types.is_float(ty) {
            return vec![self.ins(|ins| match op {
                "<" => ins.fmin(a[0], b[0]),
                _ => ins.fmax(a[0], b[0]),
            })];
        }
        let better = self.compare(op, b, a, ty);
        self.choose(&self.words(ty), better, || b.to_vec(), || a.to_vec())
    }

    fn add_cleanup(&self, cleanup: Ty, args: &'p [Expr]) -> Vals {
        let pointer = self.value(&args[0])[0];
        let function = self.value(&args[1]);
        let ty = self.ty(&args[1]);
        let param = self.types.func(ty).params[0];
        let arg = self.value_as(&args[2], param);
        let word = match self.types.pointee(param) {
            Some(_) => arg[0],
            None => self.int(0),
        };
        let words = [&*function, &arg].concat();
        let closure = self.bound(&Target::Closure(ty), &words, true);
        self.host_checked("add_cleanup", &[pointer, closure, function[0], word]);
        self.left(cleanup)
    }
}
