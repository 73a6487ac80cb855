//! Checked programs to machine code, by Cranelift.
#![deny(unsafe_code)]

mod body;
mod builtin;
mod call;
mod emit;
mod expr;
mod flow;
mod link;
mod operator;
mod place;
mod stmt;

// The parts of the module share these names.
use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I8, I32, I64};
use cranelift_codegen::ir::{AbiParam, Block, InstBuilder, MemFlagsData, Signature, Value};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId as Code, Linkage, Module, default_libcall_names};
use fing::{Handle, Mutator};
use minigo_front::ast::*;
use minigo_front::program::{Entity, FuncId, Program, Selection, VarId};
use minigo_front::types::{Kind, Member, Method, Ty, Types, basic};
use minigo_front::{CompileError, Pos};

use crate::layout::{self, Word};
use crate::run::{CALLED, HELPERS, HeapTypes, MAP, Options, TypeInfo, ctx, message};
use body::{Body, Vals};
pub(crate) use link::Compiled;
use place::Place;

/// Results that are returned in registers; further ones are left in the context.
const RESULTS: usize = 2;

/// A word that is no reference, and one that is.
const WORD: Word = Word {
    clif: I64,
    reference: false,
    offset: 0,
};
const REFERENCE: Word = Word {
    reference: true,
    ..WORD
};

/// What a call calls. The words of a call are the first ones that the target needs, and then the
/// arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// A function; a method's first argument is the receiver.
    Func(FuncId),
    /// A value of this function type, whose word is the first one.
    Closure(Ty),
    /// The method of an interface with this number and type. The interface's words come first.
    Abstract(usize, Ty),
}

/// A function of machine code. It is made if something refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Unit {
    /// Initializes the globals and calls `main`.
    Start,
    /// A function of the program, or of the prelude.
    Func(FuncId),
    /// Calls a target with the first words from its closure, and the arguments that it is called
    /// with itself; or with all words from its closure, which is what `go`, `defer` and cleanups
    /// call.
    Bound(Target, bool),
    /// A method as an interface calls it, with the value's word as the closure: the method's number
    /// and the type of the value.
    Wrapper(usize, Ty),
    /// Calls its closure, a function of this type, with the arguments in one block of memory, and
    /// leaves the results in another: what callers by Go's register ABI come to.
    Block(Ty),
    /// The stub by which generated code calls a function of the host: its name and how many words
    /// it takes.
    Exit(&'static str, usize),
    /// What the host calls closures by.
    Entry,
}

/// A unit's code, how many bytes it has, its stack maps, and whether it only passes a call on.
type Made = (Code, u32, Vec<(u32, Vec<u32>)>, bool);

/// A program on its way to machine code.
pub(crate) struct Lower<'p> {
    p: &'p Program,
    types: &'static Types,
    module: JITModule,
    units: HashMap<Unit, Code>,
    /// The units that are not made yet.
    open: Vec<Unit>,
    made: Vec<Made>,
    heap: HeapTypes,
    infos: &'static [TypeInfo],
    /// Types that interfaces may hold.
    held: Vec<Ty>,
    /// Methods that interfaces have, by number.
    methods: Vec<Method>,
    /// The closures of functions that capture nothing, by their code. They are roots for ever.
    closures: HashMap<Code, Handle>,
    /// Where the globals are.
    globals: HashMap<VarId, std::ops::Range<usize>>,
    global_roots: Vec<usize>,
    /// All functions, by name.
    named: HashMap<&'p str, FuncId>,
    clif: Option<String>,
    /// Functions are called by Go's register ABI too.
    blocks: bool,
    /// Makes closures, and knows how far apart the objects of a window are.
    mutator: Mutator,
    /// Why there is no program: the first limit of minigo's or of Cranelift's that was met.
    refused: Option<CompileError>,
    /// The statement or function that is written.
    at: Pos,
}

impl<'p> Lower<'p> {
    pub(crate) fn new(
        p: &'p Program,
        types: &'static Types,
        heap: HeapTypes,
        infos: &'static [TypeInfo],
        mutator: Mutator,
        options: &Options,
    ) -> Result<Lower<'p>, String> {
        let verify = cfg!(debug_assertions).to_string();
        let flags = [
            ("preserve_frame_pointers", "true"),
            ("opt_level", "speed"),
            ("enable_verifier", &*verify),
        ];
        let mut builder =
            JITBuilder::with_flags(&flags, default_libcall_names()).map_err(message)?;
        for (name, address, _) in HELPERS.iter() {
            builder.symbol(format!("host.{name}"), address.cast());
        }
        let names = p.funcs().map(|(id, func)| (&*func.name, id));
        let mut lower = Lower {
            p,
            types,
            module: JITModule::new(builder),
            units: HashMap::new(),
            open: Vec::new(),
            made: Vec::new(),
            heap,
            infos,
            held: Vec::new(),
            methods: Vec::new(),
            closures: HashMap::new(),
            globals: HashMap::new(),
            global_roots: Vec::new(),
            named: names.collect(),
            clif: options.clif.then(String::new),
            blocks: options.int_regs.is_some(),
            mutator,
            refused: None,
            at: Pos::default(),
        };
        for var in p.globals.iter().flat_map(|global| &global.vars) {
            lower.place_global(*var);
        }
        Ok(lower)
    }

    /// Globals lie outside the heap; their references are roots.
    fn place_global(&mut self, var: VarId) {
        let ty = self.p.var(var).ty;
        let words = self.types.size(ty).div_ceil(8).max(1) as usize;
        let start = vec![0u64; words].leak().as_ptr().expose_provenance();
        self.globals.insert(var, start..start + 8 * words);
        let mut offsets: Vec<usize> = (0..words).map(|index| 8 * index).collect();
        // A large one is a root whole, as a value that is no address is ignored.
        if !layout::is_large(self.types, ty) {
            let words = layout::words(self.types, ty).into_iter();
            let references = words.filter(|word| word.reference);
            offsets = references.map(|word| word.offset as usize).collect();
        }
        let roots = offsets.into_iter().map(|offset| start + offset);
        self.global_roots.extend(roots);
    }

    /// What a result says; the first error is kept, and ends the compilation when it is over.
    fn keep<T: Default>(&mut self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|error| {
            self.refuse(error);
            T::default()
        })
    }

    /// Notes that the program needs what minigo does not have.
    fn refuse(&mut self, message: String) {
        let error = self.p.error(self.at, message);
        self.refused.get_or_insert(error);
    }

    // Types.

    /// Notes that interfaces may hold values of the type, and parts of them, as `fmt` has them.
    fn note_held(&mut self, ty: Ty) {
        if self.held.contains(&ty) {
            return;
        }
        self.held.push(ty);
        let parts = self.types.made_from(ty);
        parts.into_iter().for_each(|part| self.note_held(part));
    }

    /// The address that stands for a type in interfaces, which may hold values of it.
    fn hold(&mut self, ty: Ty) -> i64 {
        self.note_held(ty);
        self.infos[ty.0 as usize].address() as i64
    }

    /// The number of a method that interfaces have.
    fn method_number(&mut self, method: &Method) -> usize {
        let found = self.methods.iter().position(|known| known == method);
        found.unwrap_or_else(|| {
            self.methods.push(method.clone());
            self.methods.len() - 1
        })
    }

    fn abstract_target(&mut self, method: &Method) -> Target {
        Target::Abstract(self.method_number(method), method.ty)
    }

    /// The number of a type of the heap's, and how far apart the objects of its windows are; none:
    /// there are no windows for the type.
    fn site(&mut self, text: &str) -> Result<(usize, Option<usize>), String> {
        let site = self.heap.site(text)?;
        let window = self.mutator.window(self.heap.sites[site]);
        Ok((site, window.ok().map(|window| window.stride())))
    }

    /// The address of the closure of a function that captures nothing.
    fn closure(&mut self, code: Code) -> Result<usize, String> {
        if let Some(closure) = self.closures.get(&code) {
            return Ok(closure.addr());
        }
        let id = self.heap.id("struct { code uintptr }")?;
        let made = self.mutator.alloc(id).map_err(message)?;
        let closure = self.mutator.root(made).map_err(message)?;
        let address = closure.addr();
        self.closures.insert(code, closure);
        Ok(address)
    }

    // Units.

    /// The code of a unit, which will be made.
    fn code(&mut self, unit: &Unit) -> Code {
        if let Some(code) = self.units.get(unit) {
            return *code;
        }
        let name = match unit {
            Unit::Func(id) => format!("{}.{}", self.p.func(*id).name, id.0),
            Unit::Exit(name, _) => format!("exit.{name}"),
            _ => format!("{unit:?}"),
        };
        let (params, results) = self.shape(unit);
        let signature = self.signature(&params, &results);
        let code = self.declare(&name, Linkage::Local, &signature);
        self.units.insert(unit.clone(), code);
        self.open.push(unit.clone());
        code
    }

    /// A function of the library that no program can leave out.
    fn library(&self, name: &str) -> Target {
        Target::Func(self.named[name])
    }

    fn declare(&mut self, name: &str, linkage: Linkage, signature: &Signature) -> Code {
        let code = self.module.declare_function(name, linkage, signature);
        let code = code.map(Some).map_err(message);
        self.keep(code).unwrap_or(Code::from_u32(0))
    }

    /// The words that a unit takes and returns.
    fn shape(&self, unit: &Unit) -> (Vec<Word>, Vec<Word>) {
        match unit {
            Unit::Exit(_, params) => (vec![WORD; 1 + params], vec![WORD]),
            // An address, the context, the closure, four words.
            Unit::Entry => (vec![WORD; 7], Vec::new()),
            Unit::Block(_) => (vec![WORD, REFERENCE, WORD, WORD], Vec::new()),
            Unit::Start | Unit::Bound(_, true) => (vec![WORD, REFERENCE], Vec::new()),
            Unit::Wrapper(number, _) => self.shape_of(&[], self.methods[*number].ty),
            Unit::Bound(target, false) => self.shape_of(&[], self.type_of(target)),
            Unit::Func(id) => {
                let func = self.p.func(*id);
                self.shape_of(func.receiver_ty.as_slice(), func.ty)
            }
        }
    }

    /// The words of a function of this type: the context, the closure, and the arguments.
    fn shape_of(&self, receiver: &[Ty], ty: Ty) -> (Vec<Word>, Vec<Word>) {
        let sig = self.types.func(ty);
        let args = [receiver, &sig.params].concat();
        let mut params = vec![WORD, REFERENCE];
        params.extend(layout::words_of(self.types, &args, 0));
        (params, layout::words_of(self.types, &sig.results, 0))
    }

    /// The type of a target, without the receiver.
    fn type_of(&self, target: &Target) -> Ty {
        match target {
            Target::Func(id) => self.p.func(*id).ty,
            Target::Closure(ty) | Target::Abstract(_, ty) => *ty,
        }
    }

    fn signature(&self, params: &[Word], results: &[Word]) -> Signature {
        let mut signature = Signature::new(self.module.isa().default_call_conv());
        let words = |words: &[Word]| words.iter().map(|word| AbiParam::new(word.clif)).collect();
        signature.params = words(params);
        signature.returns = words(&results[..results.len().min(RESULTS)]);
        signature
    }

    /// The types of the values in the closure of [`Unit::Bound`].
    fn bound_types(&self, target: &Target, later: bool) -> Vec<Ty> {
        let first = match target {
            Target::Func(id) => self.p.func(*id).receiver_ty,
            Target::Closure(_) => Some(basic::UNSAFE_POINTER),
            Target::Abstract(..) => Some(Types::ANY),
        };
        let params = match later {
            true => &*self.types.func(self.type_of(target)).params,
            false => &[],
        };
        first.iter().chain(params).copied().collect()
    }
}
