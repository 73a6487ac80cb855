//! Declarations: what is known of package-level names is found when they are first used.

use super::*;
use crate::types::DeclaredMethod;

/// The names that a declaration gives to its package.
fn names<'d>(package: &str, decl: &'d Decl) -> Checked<Vec<(&'d Name, Pos)>> {
    match decl {
        Decl::Var(spec) | Decl::Const(spec, _) => {
            let names = spec.names.iter();
            names.map(|name| Ok((name_of(name)?, name.pos))).collect()
        }
        Decl::Type(spec) => Ok(vec![(&spec.name, spec.pos)]),
        Decl::Func(decl) if has_no_name(package, decl) => Ok(Vec::new()),
        Decl::Func(decl) => Ok(vec![(&decl.name, decl.pos)]),
    }
}

/// The declarations of variables that are initialized apart: each has its own value.
fn one_by_one(spec: &ValueSpec) -> Vec<ValueSpec> {
    if spec.names.len() != spec.values.len() {
        return vec![spec.clone()];
    }
    let each = spec.names.iter().zip(&spec.values);
    let each = each.map(|(name, value)| ValueSpec {
        names: vec![name.clone()],
        values: vec![value.clone()],
        ..spec.clone()
    });
    each.collect()
}

/// Whether a function is no member of its package: a method, or `init`.
fn has_no_name(package: &str, decl: &FuncDecl) -> bool {
    decl.receiver.is_some() || package == "main" && &*decl.name == "init"
}

impl Checker {
    /// Enters the names of a file's imports and declarations.
    pub(super) fn collect(&mut self, file: &File) -> Checked<()> {
        let package = &file.package;
        for import in &file.imports {
            let entity = Entity::Package(short(&import.path).into());
            self.enter(package, called(import), import.pos, Slot::Known(entity))?;
        }
        for decl in &file.decls {
            let specs = match decl {
                Decl::Var(spec) => one_by_one(spec),
                _ => Vec::new(),
            };
            let (each, global) = (specs.len() > 1, self.out.globals.len());
            for (index, (name, pos)) in names(package, decl)?.into_iter().enumerate() {
                let index = match decl {
                    Decl::Var(_) if each => global + index,
                    Decl::Var(_) => global,
                    _ => index,
                };
                self.enter(package, name, pos, Slot::Open(decl.clone(), index))?;
            }
            self.out
                .globals
                .extend(specs.into_iter().map(|spec| Global {
                    spec: Arc::new(spec),
                    vars: Vec::new(),
                    package: package.clone(),
                }));
        }
        Ok(())
    }

    fn enter(&mut self, package: &Name, name: &str, pos: Pos, slot: Slot) -> Checked<()> {
        let reserved = &**package == "main" && ["init", "main"].contains(&name);
        let func = matches!(slot, Slot::Open(Decl::Func(_), _));
        let message = format!("cannot declare {name} - must be func");
        ensure(func || !reserved, pos, message)?;
        let known = name != "_" && self.set(package, name, slot).is_some();
        ensure(!known, pos, format!("{name} redeclared in this block"))
    }

    /// Looks at the declarations of a file, methods first, as types are known by them.
    pub(super) fn declare_all(&mut self, file: &File) -> Checked<()> {
        let package = &file.package;
        for decl in &file.decls {
            if let Decl::Func(decl) = decl
                && has_no_name(package, decl)
            {
                self.at_package(package, None, |this| this.method(decl))?;
            }
        }
        for decl in &file.decls {
            for (index, (name, pos)) in names(package, decl)?.into_iter().enumerate() {
                match decl {
                    Decl::Var(_) => {}
                    _ if &**name == "_" => drop(self.open(package, decl, index)?),
                    _ => drop(self.member(package, name, pos)?),
                }
            }
        }
        Ok(())
    }

    /// Looks at a declaration of a package, of which this name is wanted.
    fn open(&mut self, package: &Name, decl: &Decl, index: usize) -> Checked<Entity> {
        self.at_package(package, None, |this| match decl {
            Decl::Const(spec, iota) => this.constant(spec, index, *iota),
            Decl::Type(spec) => this.type_decl(spec),
            Decl::Func(decl) => this.func_decl(decl).map(Entity::Func),
            Decl::Var(_) => unreachable!("variables are globals"),
        })
    }

    /// What a name of a package stands for.
    pub(super) fn member(&mut self, of: &Name, name: &Name, pos: Pos) -> Checked<Option<Entity>> {
        let entity = match self.slot(of, name) {
            None => return Ok(None),
            Some(Slot::Known(entity)) => entity,
            Some(Slot::Busy) => {
                return fault(pos, format!("invalid recursive declaration: {name}"));
            }
            Some(Slot::Open(Decl::Var(_), index)) => {
                self.global(index)?;
                return self.member(of, name, pos);
            }
            Some(Slot::Open(decl, index)) => {
                self.set(of, name, Slot::Busy);
                self.open(of, &decl, index)?
            }
        };
        self.known(of, name, entity.clone());
        match &entity {
            Entity::Var(var) => {
                let mut globals = self.out.globals.iter();
                let index = globals.position(|global| global.vars.contains(var));
                if let Some(index) = index {
                    self.refer(Node::Global(index));
                }
            }
            Entity::Func(func) => self.refer(Node::Func(*func)),
            Entity::Package(_) if &*self.place.package == "main" => {
                self.imported.insert(name.clone());
            }
            _ => {}
        }
        Ok(Some(entity))
    }

    /// Declares the variables of a package-level declaration.
    pub(super) fn global(&mut self, index: usize) -> Checked<()> {
        let global = self.out.globals[index].clone();
        if !global.vars.is_empty() {
            return Ok(());
        }
        for name in global.spec.names.iter().filter(|name| !is_blank(name)) {
            self.set(&global.package, name_of(name)?, Slot::Busy);
        }
        let node = Some(Node::Global(index));
        let declare = |this: &mut Self| this.var_decl(&global.spec);
        self.out.globals[index].vars = self.at_package(&global.package, node, declare)?;
        Ok(())
    }

    /// Declares the variables of a declaration; returns those that are kept.
    pub(super) fn var_decl(&mut self, spec: &ValueSpec) -> Checked<Vec<VarId>> {
        let n = spec.names.len();
        let declared = spec.ty.as_ref().map(|ty| self.ty(ty)).transpose()?;
        let types = match declared {
            Some(ty) if spec.values.is_empty() => vec![ty; n],
            None if spec.values.is_empty() => return fault(spec.pos, "missing type or init expr"),
            _ => {
                let values = self.exactly(&spec.values, n)?;
                self.give(&values, &vec![declared; n], "variable declaration")?
            }
        };
        let vars = spec.names.iter().zip(types);
        let vars = vars.map(|(name, ty)| self.declare_name(name, ty));
        Ok(vars
            .collect::<Checked<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Declares the variable of a name, unless it is a local `_`.
    pub(super) fn declare_name(&mut self, name: &Expr, ty: Ty) -> Checked<Option<VarId>> {
        self.out.ty[name.id as usize] = ty;
        let global = self.place.scopes.is_empty();
        if is_blank(name) && !global {
            return Ok(None);
        }
        let var = self.declare_var(name_of(name)?, ty, name.pos, global)?;
        self.out.uses.insert(name.id, Entity::Var(var));
        Ok(Some(var))
    }

    /// The constant that one name of a declaration stands for.
    pub(super) fn constant(&mut self, spec: &ValueSpec, n: usize, iota: i128) -> Checked<Entity> {
        let Some(value) = spec.values.get(n) else {
            return fault(spec.names[n].pos, "missing init expr for const declaration");
        };
        if let Some(extra) = spec.values.get(spec.names.len()) {
            return fault(extra.pos, "extra init expr");
        }
        let outer = self.place.iota.replace(iota);
        let operand = self.expr(value)?;
        self.place.iota = outer;
        let Some(found) = operand.constant() else {
            return fault(value.pos, "value is not constant");
        };
        let ty = spec.ty.as_ref().map(|ty| self.ty(ty)).transpose()?;
        let ty = ty.unwrap_or(operand.ty);
        self.assignable(&operand, ty, "constant declaration")?;
        Ok(Entity::Const(self.represent(found, ty, value.pos)?, ty))
    }

    /// Declares a type, whose name is entered before it is known.
    pub(super) fn type_decl(&mut self, spec: &TypeSpec) -> Checked<Entity> {
        if spec.alias {
            let entity = Entity::Type(self.ty(&spec.ty)?);
            self.declare(&spec.name, entity.clone(), spec.pos)?;
            return Ok(entity);
        }
        let name = format!("{}.{}", self.place.package, spec.name);
        let ty = self.types.new_named(name, basic::VOID);
        self.declare(&spec.name, Entity::Type(ty), spec.pos)?;
        let inner = self.ty(&spec.ty)?;
        let message = format!("invalid recursive type {}", spec.name);
        ensure(inner != ty, spec.pos, message)?;
        match self.types.underlying(inner) {
            // That of a type which is being declared, and mentions this one.
            basic::VOID => self.waiting.push((ty, inner, spec.pos)),
            underlying => self.know(ty, underlying, spec.pos)?,
        }
        Ok(Entity::Type(ty))
    }

    /// A declared type is known now, and so are those that were waiting for it.
    fn know(&mut self, ty: Ty, underlying: Ty, pos: Pos) -> Checked<()> {
        self.types.named_mut(ty).underlying = underlying;
        let fits = self.weight(ty, 0).is_some();
        self.require(fits, pos, "invalid recursive type %T, or too large", &[ty])?;
        let waiting: Vec<_> = self
            .waiting
            .extract_if(.., |(_, of, _)| *of == ty)
            .collect();
        let mut waiting = waiting.into_iter();
        waiting.try_for_each(|(ty, _, pos)| self.know(ty, underlying, pos))
    }

    /// Words of a value, at least 1 for each part; `None`: contains itself, or too large.
    fn weight(&self, ty: Ty, depth: u32) -> Option<u64> {
        let inside = depth.checked_add(1).filter(|depth| *depth < 64)?;
        let weight = match self.types.kind(ty) {
            Kind::Array(n, of) => self.weight(*of, inside)?.checked_mul((*n).max(1)),
            Kind::Struct(fields) => fields.iter().try_fold(1u64, |sum, field| {
                sum.checked_add(self.weight(field.ty, inside)?)
            }),
            _ => Some(1),
        };
        weight.filter(|weight| *weight <= 1 << 27)
    }

    /// Adds a function, whose body is checked later.
    pub(super) fn new_func(&mut self, name: String, decl: &Arc<FuncDecl>) -> Checked<FuncId> {
        let ty = self.func_type(&decl.ty)?;
        Ok(self.add_func(name, ty, decl))
    }

    fn add_func(&mut self, name: String, ty: Ty, decl: &Arc<FuncDecl>) -> FuncId {
        self.out.funcs.push(Func {
            name,
            package: self.place.package.clone(),
            ty,
            receiver: None,
            receiver_ty: None,
            params: Vec::new(),
            results: Vec::new(),
            decl: decl.clone(),
            parent: self.place.func,
            captures: Vec::new(),
            has_defer: false,
            made: false,
        });
        FuncId(self.out.funcs.len() as u32 - 1)
    }

    /// A function that the program does not have, of one statement, which `body` makes of its
    /// parameters.
    pub(super) fn made_func(
        &mut self,
        pos: Pos,
        sig: Sig,
        body: impl FnOnce(&mut Self, Vec<Expr>) -> StmtKind,
    ) -> Checked<FuncId> {
        // No name of the program's is hidden by these.
        let name = |index| Name::from(format!("parameter {index}"));
        let names: Vec<Name> = (0..sig.params.len()).map(name).collect();
        let names = names.into_iter();
        let params = names.map(|name| self.new_expr(pos, ExprKind::Ident(name)));
        let params: Vec<Expr> = params.collect();
        let field = |name: Option<&Expr>| FieldDecl {
            pos,
            name: name.and_then(|name| name_of(name).ok().cloned()),
            ty: Expr {
                id: 0,
                pos,
                kind: ExprKind::Ident("_".into()),
            },
        };
        let ty = Arc::new(FuncType {
            params: params.iter().map(|param| field(Some(param))).collect(),
            variadic: sig.variadic,
            results: sig.results.iter().map(|_| field(None)).collect(),
        });
        let kind = body(self, params);
        let decl = Arc::new(FuncDecl {
            pos,
            name: "".into(),
            receiver: None,
            ty,
            body: Some(Block {
                stmts: vec![Stmt { pos, kind }],
                end: pos,
            }),
        });
        let ty = self.types.intern(Kind::Func(sig));
        let func = self.add_func("made".to_owned(), ty, &decl);
        self.func(func).made = true;
        self.body(func)?;
        Ok(func)
    }

    pub(super) fn new_expr(&mut self, pos: Pos, kind: ExprKind) -> Expr {
        let id = self.out.ty.len() as ExprId;
        self.out.ty.push(basic::VOID);
        Expr { id, pos, kind }
    }

    fn func_decl(&mut self, decl: &Arc<FuncDecl>) -> Checked<FuncId> {
        let package = &self.place.package;
        let made = decl.body.is_some() || &**package != "main";
        let message = format!("missing function body of {}", decl.name);
        ensure(made, decl.pos, message)?;
        let special = ["main", "init"].contains(&&*decl.name) && decl.receiver.is_none();
        let plain = decl.ty.params.is_empty() && decl.ty.results.is_empty();
        let message = format!(
            "func {} must have no arguments and no return values",
            decl.name
        );
        let fits = !special || plain || &**package != "main";
        ensure(fits, decl.pos, message)?;
        let name = format!("{package}.{}", decl.name);
        let func = self.new_func(name, decl)?;
        self.bodies.push(func);
        Ok(func)
    }

    /// A method, or an `init` function.
    fn method(&mut self, decl: &Arc<FuncDecl>) -> Checked<()> {
        let func = self.func_decl(decl)?;
        let Some(receiver) = &decl.receiver else {
            self.out.inits.push(func);
            return Ok(());
        };
        let (ty, name) = (self.ty(&receiver.ty)?, &decl.name);
        let (base, by_pointer) = match *self.types.own_kind(ty) {
            Kind::Pointer(to) => (to, true),
            _ => (ty, false),
        };
        let named = self.types.named(base);
        let own = named.map_or(String::new(), |named| named.name.clone());
        let local = own.starts_with(&format!("{}.", self.place.package));
        self.require(local, receiver.pos, "invalid receiver type %T", &[ty])?;
        let allowed = self.types.pointee(base).is_none() && !self.types.is_interface(base);
        self.require(allowed, receiver.pos, "invalid receiver type %T", &[base])?;
        let free = &**name == "_" || self.types.declared(base, name).is_none();
        let message = format!("field or method {name} redeclared: {own}");
        ensure(free, decl.pos, message)?;
        self.func(func).receiver_ty = Some(ty);
        self.func(func).name = format!("{own}.{name}");
        let ty = self.func(func).ty;
        let methods = &mut self.types.named_mut(base).methods;
        methods.push(DeclaredMethod {
            name: name.clone(),
            func,
            by_pointer,
            ty,
        });
        Ok(())
    }

    /// Declares receiver, parameters and results of a function, and checks its statements.
    pub(super) fn body(&mut self, id: FuncId) -> Checked<()> {
        let func = self.func(id).clone();
        let Kind::Func(sig) = self.kind(func.ty) else {
            unreachable!("functions have function types");
        };
        let (receiver, ty) = (func.decl.receiver.as_ref(), &func.decl.ty);
        let params = receiver.into_iter().chain(&ty.params).chain(&ty.results);
        let types = func.receiver_ty.into_iter().chain(sig.params);
        let params = params.zip(types.chain(sig.results));
        self.place.func = Some(id);
        let targets = std::mem::take(&mut self.place.targets);
        self.scoped(|this| {
            let mut vars = Vec::new();
            for (param, ty) in params {
                let name = param.name.clone().unwrap_or_else(|| "_".into());
                vars.push(this.declare_var(&name, ty, param.pos, true)?);
            }
            let entry = this.func(id);
            entry.results = vars.split_off(vars.len() - ty.results.len());
            let results = entry.results.clone();
            entry.params = vars.split_off(usize::from(receiver.is_some()));
            entry.receiver = vars.pop();
            // `return` assigns to them.
            results
                .iter()
                .for_each(|var| this.var(*var).assigned = true);
            // Go has parameters and the outermost declarations in one block.
            match &func.decl.body {
                Some(body) if !this.stmts(&body.stmts)? && !ty.results.is_empty() => {
                    fault(body.end, "missing return")
                }
                _ => Ok(()),
            }
        })?;
        self.place.func = func.parent;
        self.place.targets = targets;
        Ok(())
    }

    /// All globals that one refers to, directly or through functions; itself only if it leads back.
    fn reachable(&self, from: usize) -> HashSet<usize> {
        let mut open = vec![Node::Global(from)];
        let mut seen = HashSet::new();
        while let Some(node) = open.pop() {
            let refs = self.refs.get(&node).into_iter().flatten();
            open.extend(refs.filter(|to| seen.insert(**to)));
        }
        let globals = seen.into_iter().filter_map(|node| match node {
            Node::Global(global) => Some(global),
            Node::Func(_) => None,
        });
        globals.collect()
    }

    /// Orders the package-level variables as they are initialized: by what they refer to.
    pub(super) fn order_globals(&mut self) -> Checked<()> {
        let globals = std::mem::take(&mut self.out.globals);
        let globals = globals.into_iter().enumerate();
        let globals = globals.map(|(index, global)| (index, self.reachable(index), global));
        let mut left: Vec<_> = globals.collect();
        let mut done = HashSet::new();
        while let Some((_, _, first)) = left.first() {
            let ready = left.iter().position(|(_, needs, _)| needs.is_subset(&done));
            let Some(next) = ready else {
                return fault(first.spec.pos, "initialization cycle");
            };
            let (index, _, global) = left.remove(next);
            done.insert(index);
            self.out.globals.push(global);
        }
        Ok(())
    }
}
