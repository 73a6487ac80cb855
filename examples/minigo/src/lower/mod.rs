//! Checked programs to machine code, by Cranelift.
#![deny(unsafe_code)]

mod body;
mod builtin;
mod call;
mod checks;
mod closure;
mod compare;
mod composite;
mod control;
mod convert;
mod expr;
mod function;
mod link;
mod memory;
mod operator;
mod place;
mod stmt;
mod switch;

use std::collections::{HashMap, HashSet};

use cranelift_codegen::Context;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, Signature};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId as Code, Linkage, Module, default_libcall_names};

use fing::Mutator;

use crate::ast::Name;
use crate::check::entity::{FuncId, Program};
use crate::layout::Word;
use crate::run::{HELPERS, HeapTypes, Options, TypeInfo};
use crate::types::{Sig, Ty};
pub(crate) use link::Compiled;

/// Results that are returned in registers; further ones are left in the context.
const RESULTS: usize = 2;

/// A function to be made, besides those of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Extra {
    /// Calls the function whose closure is in its own closure, with the arguments that are there:
    /// what `go`, `defer` and cleanups call. The function's type.
    Bound(Ty),
    /// The same for a method value: only the receiver is in the closure. The method's type and the
    /// receiver's.
    MethodValue(FuncId, Ty),
    /// The same for a method of an interface: its number and type, the interface.
    AbstractValue(usize, Ty, Ty),
    /// A method as an interface calls it, with the value's word: the method's number and the type
    /// of the value.
    Wrapper(usize, Ty),
    /// A function of the prelude that is written in Rust, as a closure's code.
    Host(FuncId),
    /// `close` of the channel in its closure.
    Close,
    /// `panic` with the value in its closure, of type `any`.
    Panic(Ty),
    /// Calls its closure, a function of this type, with the arguments in one block of memory, and
    /// leaves the results in another: what callers by Go's register ABI come to.
    Block(Ty),
}

/// What is declared, and has to be made.
#[derive(Clone, Copy, Debug)]
enum Open {
    Func(usize),
    Extra(Extra),
    Exit(&'static str),
}

/// The stub by which generated code calls a function of the host.
#[derive(Clone, Copy, Debug)]
struct Exit {
    name: &'static str,
    code: Code,
    params: usize,
    wanted: bool,
}

struct Registered {
    code: Code,
    bytes: u32,
    maps: Vec<(u32, Vec<u32>)>,
}

/// A program on its way to machine code.
pub(crate) struct Lower<'p> {
    p: &'p Program,
    module: JITModule,
    context: Context,
    builder: FunctionBuilderContext,
    /// By function of the program: its code, and whether something refers to that.
    funcs: Vec<(Code, bool)>,
    helpers: HashMap<&'static str, Exit>,
    extras: HashMap<Extra, Code>,
    open: Vec<Open>,
    registered: Vec<Registered>,
    heap: HeapTypes<'p>,
    infos: &'static [TypeInfo],
    /// Types that interfaces may hold.
    held: Vec<Ty>,
    held_set: HashSet<Ty>,
    /// Numbers of methods that interfaces have.
    methods: HashMap<(Name, Ty), usize>,
    /// Where the globals are.
    globals: HashMap<crate::check::entity::VarId, usize>,
    global_roots: Vec<usize>,
    clif: Option<String>,
    /// Functions are called by Go's register ABI too.
    blocks: bool,
    /// Knows how far apart the objects of a window are.
    mutator: Mutator,
}

impl<'p> Lower<'p> {
    pub(crate) fn new(
        p: &'p Program,
        heap: HeapTypes<'p>,
        infos: &'static [TypeInfo],
        mutator: Mutator,
        options: &Options,
    ) -> Result<Lower<'p>, String> {
        let flags = [
            ("preserve_frame_pointers", "true"),
            ("opt_level", "speed"),
            (
                "enable_verifier",
                if cfg!(debug_assertions) {
                    "true"
                } else {
                    "false"
                },
            ),
        ];
        let mut builder = JITBuilder::with_flags(&flags, default_libcall_names())
            .map_err(|error| error.to_string())?;
        for (name, address, _) in HELPERS.iter() {
            builder.symbol(format!("host.{name}"), address.cast());
        }
        let module = JITModule::new(builder);
        let mut lower = Lower {
            p,
            context: module.make_context(),
            module,
            builder: FunctionBuilderContext::new(),
            funcs: Vec::new(),
            helpers: HashMap::new(),
            extras: HashMap::new(),
            open: Vec::new(),
            registered: Vec::new(),
            heap,
            infos,
            held: Vec::new(),
            held_set: HashSet::new(),
            methods: HashMap::new(),
            globals: HashMap::new(),
            global_roots: Vec::new(),
            clif: options.clif.then(String::new),
            blocks: options.int_regs.is_some(),
            mutator,
        };
        for (name, _, params) in HELPERS.iter() {
            lower.declare_exit(name, *params)?;
        }
        for func in &p.funcs {
            let index = lower.funcs.len();
            let signature = lower.signature(&lower.func_params(func), &lower.results(func.ty));
            let name = format!("{}.{index}", func.name);
            let code = lower
                .module
                .declare_function(&name, Linkage::Local, &signature);
            let code = code.map_err(|error| error.to_string())?;
            lower.funcs.push((code, false));
        }
        lower.place_globals();
        Ok(lower)
    }

    /// Globals lie outside the heap; their references are roots.
    fn place_globals(&mut self) {
        for global in &self.p.globals {
            for var in &global.vars {
                let ty = self.p.vars[var.0 as usize].ty;
                let words = self.p.types.size(ty).div_ceil(8).max(1);
                let memory = vec![0u64; words as usize].leak();
                let address = memory.as_ptr().expose_provenance();
                self.globals.insert(*var, address);
                if self.p.types.word_count(ty) <= crate::layout::MAX_WORDS as u64 {
                    let words = self.p.types.words(ty).into_iter();
                    let roots = words.filter(|word| word.reference);
                    self.global_roots
                        .extend(roots.map(|word| address + word.offset as usize));
                } else {
                    // Whole, as a value that is no address is ignored.
                    self.global_roots
                        .extend((0..words as usize).map(|n| address + 8 * n));
                }
            }
        }
    }

    /// The signature of a function of the program: context, closure, arguments.
    fn signature(&self, params: &[Word], results: &[Word]) -> Signature {
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        signature.params = vec![AbiParam::new(I64); 2];
        signature
            .params
            .extend(params.iter().map(|word| AbiParam::new(word.clif)));
        let results = results.iter().take(RESULTS);
        signature.returns = results.map(|word| AbiParam::new(word.clif)).collect();
        signature
    }

    fn sig(&self, ty: Ty) -> &'p Sig {
        match self.p.types.sig(ty) {
            Some(sig) => sig,
            None => unreachable!("checked to be a function"),
        }
    }

    fn words_of(&self, types: &[Ty]) -> Vec<Word> {
        types
            .iter()
            .flat_map(|ty| self.p.types.words(*ty))
            .collect()
    }

    fn params(&self, ty: Ty) -> Vec<Word> {
        self.words_of(&self.sig(ty).params)
    }

    fn results(&self, ty: Ty) -> Vec<Word> {
        self.words_of(&self.sig(ty).results)
    }

    /// The words of a function's receiver and parameters.
    fn func_params(&self, func: &crate::check::entity::Func) -> Vec<Word> {
        let receiver = func
            .receiver_ty
            .iter()
            .flat_map(|ty| self.p.types.words(*ty));
        receiver.chain(self.params(func.ty)).collect()
    }

    /// The address that stands for a type in interfaces.
    fn info(&self, ty: Ty) -> usize {
        std::ptr::from_ref(&self.infos[ty.0 as usize]).expose_provenance()
    }

    /// How far apart objects of a site's window are; none: there are no windows for the type.
    fn stride(&self, site: usize) -> Option<usize> {
        let window = self.mutator.window(self.heap.at_site(site));
        window.ok().map(|window| window.stride())
    }

    /// Notes that interfaces may hold values of the type.
    fn hold(&mut self, ty: Ty) {
        if self.held_set.insert(ty) {
            self.held.push(ty);
        }
    }

    /// The number of a method that interfaces have.
    fn method_number(&mut self, name: &Name, ty: Ty) -> usize {
        let next = self.methods.len();
        *self.methods.entry((name.clone(), ty)).or_insert(next)
    }

    /// The code of an extra function, which will be made.
    fn extra(&mut self, extra: Extra) -> Result<Code, String> {
        if let Some(code) = self.extras.get(&extra) {
            return Ok(*code);
        }
        let signature = self.extra_signature(extra);
        let name = format!("extra.{}", self.extras.len());
        let code = self
            .module
            .declare_function(&name, Linkage::Local, &signature);
        let code = code.map_err(|error| error.to_string())?;
        self.extras.insert(extra, code);
        self.open.push(Open::Extra(extra));
        Ok(code)
    }

    /// The code of a function of the program, which will be made.
    fn func(&mut self, func: usize) -> Code {
        let (code, wanted) = &mut self.funcs[func];
        if !std::mem::replace(wanted, true) {
            self.open.push(Open::Func(func));
        }
        *code
    }

    /// The exit stub to a function of the host, which will be made.
    fn exit(&mut self, name: &str) -> Exit {
        let Some(exit) = self.helpers.get_mut(name) else {
            unreachable!("{name} is no function of the host");
        };
        if !std::mem::replace(&mut exit.wanted, true) {
            self.open.push(Open::Exit(exit.name));
        }
        *exit
    }
}
