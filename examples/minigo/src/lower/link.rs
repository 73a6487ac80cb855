//! Making the units of a program, and registering them with their stack maps.

use std::collections::BTreeMap;
use std::ops::Range;

use cranelift_codegen::ir::UserStackMap;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use fing::vm::{Callers, Frames, RegisteredCode};

use super::*;

/// A program as machine code.
pub(crate) struct Compiled {
    /// Runs `main` and the initializers before it: called with the context and no closure.
    pub(crate) start: usize,
    /// What the host calls closures by.
    pub(crate) entry: usize,
    /// Where the globals are.
    pub(crate) globals: Vec<Range<usize>>,
    /// Addresses of words outside the heap that are roots.
    pub(crate) roots: Vec<usize>,
    /// By type of function that interfaces may hold: see [`Unit::Block`].
    pub(crate) blocks: HashMap<Ty, usize>,
    /// Where the code of functions that only pass a call on begins and ends.
    pub(crate) passing: BTreeMap<usize, usize>,
    /// Functions of the prelude that the host calls, by name.
    pub(crate) called: HashMap<&'static str, usize>,
    /// The program as Cranelift's text, if that is wanted.
    pub(crate) clif: Option<String>,
}

impl<'p> Lower<'p> {
    /// Makes the program's own functions, and of the library what they come to.
    pub(crate) fn compile(mut self, frames: &Frames) -> Result<(Compiled, HeapTypes), String> {
        let start = self.code(&Unit::Start);
        let entry = self.code(&Unit::Entry);
        for (id, func) in self.p.funcs() {
            if &*func.package == "main" {
                self.code(&Unit::Func(id));
            }
        }
        let called = CALLED.map(|name| (name, self.code(&Unit::Func(self.named[name]))));
        // Wrappers may need further ones.
        let tables = loop {
            while let Some(unit) = self.open.pop() {
                self.make(&unit);
            }
            let known = (self.held.len(), self.methods.len());
            let mut tables = Vec::new();
            for ty in self.held.clone() {
                tables.push((ty, self.method_table(ty)));
                if self.blocks && matches!(self.types.kind(ty), Kind::Func(_)) {
                    self.code(&Unit::Block(ty));
                }
            }
            if self.open.is_empty() && known == (self.held.len(), self.methods.len()) {
                break tables;
            }
        };
        if let Some(refused) = self.refused {
            return Err(refused.to_string());
        }
        let finished = self.module.finalize_definitions();
        finished.map_err(message)?;
        let address = |code| self.module.get_finalized_function(code).expose_provenance();
        for (ty, codes) in tables {
            let codes = codes.into_iter().map(|code| code.map_or(0, address));
            self.infos[ty.0 as usize].set_methods(codes.collect());
        }
        let blocks = self.units.iter().filter_map(|(unit, code)| match unit {
            Unit::Block(ty) => Some((*ty, address(*code))),
            _ => None,
        });
        let blocks = blocks.collect();
        let called = called.map(|(name, code)| (name, address(code))).into();
        for (code, closure) in std::mem::take(&mut self.closures) {
            let object = self.mutator.get(&closure).map_err(message)?;
            let written = self.mutator.store_word(object, 0, address(code) as u64);
            written.map_err(message)?;
            std::mem::forget(closure);
        }
        let registered = self.register(frames, entry)?;
        let passing = self.made.iter().filter(|(.., passes)| *passes);
        let passing = passing.map(|made| self.range(made));
        let passing = passing.map(|code| (code.start, code.end)).collect();
        let compiled = Compiled {
            start: address(start),
            entry: address(entry),
            globals: self.globals.into_values().collect(),
            roots: self.global_roots,
            blocks,
            called,
            passing,
            clif: self.clif,
        };
        // Code and its stack maps stay as long as the process.
        std::mem::forget((self.module, registered));
        Ok((compiled, self.heap))
    }

    /// The code of each method that a type has of those that interfaces have, by number.
    fn method_table(&mut self, ty: Ty) -> Vec<Option<Code>> {
        let methods = self.methods.clone().into_iter().enumerate();
        // What an interface holds is no interface.
        let interface = self.types.is_interface(ty);
        let code = |(number, method): (usize, Method)| {
            let has = !interface && self.types.implementation(ty, &method).is_some();
            has.then(|| self.code(&Unit::Wrapper(number, ty)))
        };
        methods.map(code).collect()
    }

    /// Where a unit's code is.
    fn range(&self, (code, bytes, ..): &Made) -> Range<usize> {
        let start = self.module.get_finalized_function(*code);
        let start = start.expose_provenance();
        start..start + *bytes as usize
    }

    /// Compiles a unit, and keeps its stack maps.
    fn make(&mut self, unit: &Unit) {
        let code = self.code(unit);
        let (params, results) = self.shape(unit);
        let (mut context, mut parts) = (self.module.make_context(), FunctionBuilderContext::new());
        context.func.signature = self.signature(&params, &results);
        let b = FunctionBuilder::new(&mut context.func, &mut parts);
        Body::write(self, b, unit);
        if let Some(clif) = &mut self.clif {
            let declaration = self.module.declarations().get_function_decl(code);
            let name = declaration.linkage_name(code);
            clif.push_str(&format!("; {name}\n{}\n", context.func.display()));
        }
        let defined = self.module.define_function(code, &mut context);
        self.keep(defined.map_err(|error| format!("{error:?}")));
        if let Some(compiled) = context.compiled_code() {
            let maps = compiled.buffer.user_stack_maps().iter();
            let slots = |map: &UserStackMap| map.entries().map(|(_, slot)| slot).collect();
            let maps = maps.map(|(at, _, map)| (*at, slots(map))).collect();
            let passes = match unit {
                Unit::Bound(..) | Unit::Wrapper(..) => true,
                Unit::Func(id) => self.p.func(*id).made,
                _ => false,
            };
            self.made
                .push((code, compiled.buffer.total_size(), maps, passes));
        }
    }

    #[expect(
        unsafe_code,
        reason = "states what code is where, and what its stack maps are"
    )]
    fn register(&self, frames: &Frames, entry: Code) -> Result<Vec<RegisteredCode>, String> {
        let register = |made: &Made| {
            let (code, _, maps, _) = made;
            let callers = match *code == entry {
                true => Callers::Any,
                false => Callers::Registered,
            };
            let (code, maps) = (self.range(made), maps.clone());
            // SAFETY: I31: Cranelift has compiled it with frame pointers, these are its maps, and
            // it calls the host through exit stubs, on stacks of these frames.
            unsafe { frames.add(code, callers, maps) }.map_err(message)
        };
        self.made.iter().map(register).collect()
    }
}
