//! Stubs in a `cranelift_module::Module` of the embedder's: a JIT's or an object file's.
#![forbid(unsafe_code)]

use std::fmt;

use cranelift_codegen::ir;
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::{FuncId, Linkage, Module, ModuleError};

use super::unwind::UnwindTable;
use crate::StubError;
use crate::compile::Compiler;
use crate::key::StubKey;
use crate::lower;
use crate::quote::short;

/// Stubs begin at multiples of this; enough for every machine.
const ALIGNMENT: u64 = 16;

/// What is defined in a module, with the text of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Definition {
    /// The stub of a [`StubKey`].
    Stub(String),
    /// An entry of an [`EntryKey`](crate::entry::EntryKey).
    Entry(String),
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Definition::Stub(key) => write!(f, "stub {}", short(key)),
            // The key's text says what it is.
            Definition::Entry(key) => write!(f, "{}", short(key)),
        }
    }
}

impl Definition {
    /// The key's text.
    pub(super) fn key(&self) -> &str {
        match self {
            Definition::Stub(key) | Definition::Entry(key) => key,
        }
    }

    pub(super) fn refused(&self, name: &str, error: ModuleError) -> DefineError {
        DefineError::Module {
            what: self.clone(),
            name: name.to_owned(),
            error: Box::new(error),
        }
    }
}

/// A function that was defined in a module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defined {
    /// What the module calls it.
    pub id: FuncId,
    /// What the embedder tells its unwinder; `None` where Cranelift has no System V unwind
    /// information, as for Windows, whose unwinders want another form.
    pub unwind: Option<UnwindTable>,
}

/// Why a stub or an entry is not defined in a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefineError {
    /// The caller's: module and compiler are for two targets.
    #[error("{what}: the module is for {found}, wanted {wanted}, the compiler's target")]
    Target {
        /// What was asked for.
        what: Definition,
        /// The module's target.
        found: String,
        /// The compiler's.
        wanted: String,
    },
    /// The caller's: code of the module and stubs or entries can't call each other with this
    /// setting.
    #[error("{what}: the module is compiled with {found}, wanted without: {why}")]
    Setting {
        /// What was asked for.
        what: Definition,
        /// The setting of Cranelift's.
        found: &'static str,
        /// What goes wrong.
        why: &'static str,
    },
    /// The caller's: the function that an entry is to call is declared with another signature.
    #[error(
        "{what}: handler {:?} has the signature {}, wanted {wanted}",
        short(.handler).to_string(),
        short(.found)
    )]
    Handler {
        /// What was asked for.
        what: Definition,
        /// The function's name in the module.
        handler: String,
        /// The signature that it is declared with.
        found: String,
        /// [`handler_signature`](super::handler_signature).
        wanted: String,
    },
    /// The caller's: an id of another module.
    #[error("{what}: {role} is {found}, wanted one that the module has declared")]
    Unknown {
        /// What was asked for.
        what: Definition,
        /// What the id was given for: `handler` or `context`.
        role: &'static str,
        /// The id.
        found: String,
    },
    /// The caller's: a context that has an address in each thread.
    #[error(
        "{what}: context is thread-local data {:?}, wanted data with one address",
        short(.data).to_string()
    )]
    ThreadLocal {
        /// What was asked for.
        what: Definition,
        /// The data object's name in the module.
        data: String,
    },
    /// There is no such stub or entry.
    #[error(transparent)]
    Stub(#[from] StubError),
    /// The module's refusal: the name is taken by another function, or it has no memory left.
    #[error("{what} as {:?}: {error}", short(.name).to_string())]
    Module {
        /// What was asked for.
        what: Definition,
        /// The function's name in the module.
        name: String,
        /// The module's own error.
        #[source]
        error: Box<ModuleError>,
    },
}

/// The signature of every stub in a module for this ISA, which is of the target's C convention:
/// the addresses of
///
/// 1. the first [`Record`](crate::Record);
/// 2. a word with the end of the records, read before each call;
/// 3. a word that takes the address of the record that is running, written before each call;
/// 4. a [`GBlock`](crate::GBlock), which only Go's ABIs look at.
///
/// There is no result. [`Stub::run`](crate::Stub::run) says what must hold of them.
pub fn stub_signature(isa: &dyn TargetIsa) -> ir::Signature {
    lower::stub_signature(isa.default_call_conv())
}

/// Declares a function in a module and defines it as the stub of `key`: the stub itself with all
/// that it calls but its callees, as bytes without relocations. So the module may be a JIT's or an
/// object file's, with or without position-independent code.
///
/// Code of the module calls it by its `FuncId`; its signature is [`stub_signature`]. A compiler
/// serves any number of modules.
///
/// ```
/// # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
/// use cranelift_jit::{JITBuilder, JITModule};
/// use cranelift_module::{Linkage, default_libcall_names};
/// use fing_stubs::clif::define_stub;
/// use fing_stubs::{Abi, Compiler, GBlock, KeyOptions, Record, StubKey};
/// use std::sync::atomic::AtomicPtr;
///
/// extern "C" fn increment(counter: &mut u64) {
///     *counter += 1;
/// }
///
/// let mut module = JITModule::new(JITBuilder::new(default_libcall_names())?);
/// let options = KeyOptions::default();
/// let key = StubKey::new(&"func(*uint64)".parse()?, Abi::host_native()?, options)?;
/// let compiler = Compiler::for_target(module.isa().triple().clone())?;
/// let stub = define_stub(&compiler, &mut module, "increment_all", Linkage::Local, &key)?;
/// module.finalize_definitions()?;
///
/// type Stub = unsafe extern "C" fn(
///     *const Record, *const AtomicPtr<Record>, *const AtomicPtr<Record>, *const GBlock,
/// );
/// // SAFETY: a stub has this signature.
/// let stub: Stub = unsafe { std::mem::transmute(module.get_finalized_function(stub.id)) };
/// let mut counter = 0u64;
/// let words = [&raw mut counter as u64, 0];
/// let records = [Record { code: increment as usize, words, ..Record::default() }; 3];
/// let end = AtomicPtr::new(records.as_ptr_range().end.cast_mut());
/// let progress = AtomicPtr::new(std::ptr::null_mut());
/// // SAFETY: `increment` has the key's signature, and may be called with this counter.
/// unsafe { stub(records.as_ptr(), &end, &progress, &GBlock::zeroed()) };
/// assert_eq!(counter, 3);
/// # use cranelift_module::Module;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What a stub of a module is not
///
/// * No unwinder knows its frame until the embedder puts [`Defined::unwind`] where its unwinder
///   looks: before that no panic may leave a callee.
/// * It is no [`Stub`](crate::Stub): it lives as long as the module's code, is not interpreted in a
///   forked child, and [`StubCache::find`](crate::StubCache::find) does not name it.
/// * It is no code with stack maps: to the walk of [`frames`](crate::frames) it is the host's, so
///   generated code calls it through an exit stub if a callee may reach a collection.
///
/// # Errors
/// A module for another target than the compiler's, or with a setting that stubs do not have
/// (`enable_pinned_reg`, `use_bti`): nothing has been declared then. The stub's own errors, as
/// [`Compiler::compile`]'s. The module's: a name that is defined already or declared with another
/// signature, memory that can't be had.
pub fn define_stub(
    compiler: &Compiler,
    module: &mut dyn Module,
    name: &str,
    linkage: Linkage,
    key: &StubKey,
) -> Result<Defined, DefineError> {
    let what = Definition::Stub(key.to_string());
    check_target(compiler, module.isa(), &what)?;
    refuse_setting(
        module.isa().flags().enable_pinned_reg(),
        "enable_pinned_reg",
        "a stub restores that register for its caller",
        &what,
    )?;
    refuse_setting(
        module.isa().is_branch_protection_enabled(),
        "use_bti",
        "a stub does not begin with a landing pad",
        &what,
    )?;
    let compiled = compiler.compile(key, false)?;
    let image = compiled.image()?;
    let unwind = UnwindTable::of(compiler, &what, &compiled.states())?;
    let signature = stub_signature(module.isa());
    let refused = |error| what.refused(name, error);
    let id = module
        .declare_function(name, linkage, &signature)
        .map_err(refused)?;
    module
        .define_function_bytes(id, ALIGNMENT, &image, &[])
        .map_err(refused)?;
    Ok(Defined { id, unwind })
}

pub(super) fn check_target(
    compiler: &Compiler,
    isa: &dyn TargetIsa,
    what: &Definition,
) -> Result<(), DefineError> {
    if isa.triple() == compiler.triple() {
        return Ok(());
    }
    Err(DefineError::Target {
        what: what.clone(),
        found: isa.triple().to_string(),
        wanted: compiler.triple().to_string(),
    })
}

pub(super) fn refuse_setting(
    is_set: bool,
    found: &'static str,
    why: &'static str,
    what: &Definition,
) -> Result<(), DefineError> {
    if !is_set {
        return Ok(());
    }
    Err(DefineError::Setting {
        what: what.clone(),
        found,
        why,
    })
}
