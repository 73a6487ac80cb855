//! Type expressions.

use super::*;

impl Checker {
    /// The type that an expression names.
    pub(super) fn ty(&mut self, expr: &Expr) -> Checked<Ty> {
        let operand = self.operand(expr)?;
        ensure(
            operand.mode == Mode::Type,
            expr.pos,
            "expression is not a type",
        )?;
        Ok(operand.ty)
    }

    pub(super) fn func_type(&mut self, ty: &FuncType) -> Checked<Ty> {
        let mut seen = HashSet::new();
        for param in ty.params.iter().chain(&ty.results) {
            let name = param.name.as_ref().filter(|name| &***name != "_");
            let text = name.map_or(String::new(), |name| format!("{name} redeclared"));
            ensure(name.is_none_or(|name| seen.insert(name)), param.pos, text)?;
        }
        let params = ty.params.iter().map(|param| self.ty(&param.ty));
        let mut params = params.collect::<Checked<Vec<Ty>>>()?;
        let results = ty.results.iter().map(|param| self.ty(&param.ty));
        let results = results.collect::<Checked<Vec<Ty>>>()?;
        if let Some(last) = params.last_mut().filter(|_| ty.variadic) {
            *last = self.types.intern(Kind::Slice(*last));
        }
        Ok(self.types.func_type(params, ty.variadic, results))
    }

    /// The type that an expression is which is no name.
    pub(super) fn type_literal(&mut self, expr: &Expr) -> Checked<Ty> {
        let kind = match &expr.kind {
            ExprKind::SliceType(of) => Kind::Slice(self.ty(of)?),
            ExprKind::ArrayType(None, _) => return fault(expr.pos, "invalid use of [...] array"),
            ExprKind::ArrayType(Some(length), of) => {
                Kind::Array(self.array_length(length)?, self.ty(of)?)
            }
            ExprKind::MapType(key, value) => {
                let (key_ty, value) = (self.ty(key)?, self.ty(value)?);
                self.keys.push((key.pos, key_ty));
                Kind::Map(key_ty, value)
            }
            ExprKind::ChanType(dir, of) => Kind::Chan(*dir, self.ty(of)?),
            ExprKind::FuncType(ty) => return self.func_type(ty),
            ExprKind::StructType(fields) => self.struct_type(fields)?,
            ExprKind::InterfaceType(elems) => self.interface_type(expr.pos, elems)?,
            _ => unreachable!("values are checked elsewhere"),
        };
        Ok(self.types.intern(kind))
    }

    fn array_length(&mut self, length: &Expr) -> Checked<u64> {
        let operand = self.expr(length)?;
        let constant = operand.constant().is_some();
        ensure(constant, length.pos, "array length must be constant")?;
        let message = "invalid array length, or too large for minigo";
        let operand = operand.at(length.pos);
        match self.int(&operand, 0, [message; 2].map(String::from))? {
            Some(length) if length <= 1 << 27 => Ok(length as u64),
            _ => fault(length.pos, message),
        }
    }

    fn struct_type(&mut self, decls: &[FieldDecl]) -> Checked<Kind> {
        let mut fields: Vec<Field> = Vec::new();
        for decl in decls {
            // An embedded field has the name of its type.
            let named = match &decl.ty.kind {
                ExprKind::Star(inner) => &inner.kind,
                kind => kind,
            };
            let name = match (&decl.name, named) {
                (Some(name), _) => name.clone(),
                (None, ExprKind::Ident(name) | ExprKind::Selector(_, name)) => name.clone(),
                _ => return fault(decl.pos, "embedded field must be a type name"),
            };
            let embedded = decl.name.is_none();
            let known = &*name != "_" && fields.iter().any(|field| field.name == name);
            ensure(!known, decl.pos, format!("{name} redeclared"))?;
            let ty = self.ty(&decl.ty)?;
            let named = self.types.named(ty).is_some();
            let wrong =
                |to| named || self.types.is_interface(to) || self.types.pointee(to).is_some();
            let wrong = embedded && self.types.pointee(ty).is_some_and(wrong);
            ensure(!wrong, decl.pos, "embedded field type cannot be a pointer")?;
            fields.push(Field { name, ty, embedded });
        }
        Ok(Kind::Struct(fields))
    }

    fn interface_type(&mut self, pos: Pos, elems: &[FieldDecl]) -> Checked<Kind> {
        let mut methods: Vec<Method> = Vec::new();
        for (index, elem) in elems.iter().enumerate() {
            let ty = self.ty(&elem.ty)?;
            if let Some(name) = elem.name.clone() {
                let before = elems[..index].iter().any(|other| other.name == elem.name);
                ensure(!before, elem.pos, "duplicate method")?;
                let message = "methods must have a unique non-blank name";
                ensure(&*name != "_", elem.pos, message)?;
                methods.push(Method { name, ty });
                continue;
            }
            let known = self.types.underlying(ty) != basic::VOID;
            ensure(known, elem.pos, "invalid recursive type")?;
            let Kind::Interface(inner) = self.kind(ty) else {
                return fault(elem.pos, "type sets are outside minigo's subset");
            };
            methods.extend(inner);
        }
        methods.sort();
        methods.dedup();
        let unique = methods.windows(2).all(|pair| pair[0].name != pair[1].name);
        ensure(unique, pos, "duplicate method")?;
        Ok(Kind::Interface(methods))
    }
}
