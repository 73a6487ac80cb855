//! `fing demo`: C streams closed by the collector, then the finalizers of Go's own register ABI
//! test.
#![expect(
    unsafe_code,
    reason = "says which functions are at which addresses, and opens C streams"
)]

use std::error::Error;
use std::ffi::CString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::trace::Trace;
use fing::stubs::seed::{self, Observation};
use fing::stubs::{Assignment, Place, StubKey, assign};
use fing::{Abi, Arch, CleanupFn, FinalizerFn, Handle, Runtime, Signature};

/// How long to wait for finalizers; they take microseconds.
const PATIENCE: Duration = Duration::from_secs(10);
const STREAMS: usize = 5;

/// With `trace`, a trace of the demonstration goes to that file.
pub(crate) fn run(trace: Option<&Path>) -> super::Output {
    let begun = trace.map(|path| Ok::<_, std::io::Error>((path, Trace::begin()?)));
    let begun = begun.transpose()?;
    let mut out = std::io::stdout().lock();
    match Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| demo(&runtime, &mut out))
    {
        Ok(()) => {
            if let Some((path, trace)) = begun {
                trace.write(path)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => Err(*error),
            Err(error) => {
                eprintln!("fing demo: {error}");
                Ok(ExitCode::FAILURE)
            }
        },
    }
}

fn demo(runtime: &Runtime, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    streams(runtime, out)?;
    register_abi(runtime, out)?;
    figures(runtime, out)
}

/// A directory of our own that goes when this value does.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("fing-demo-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the system's directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens a C stream for writing.
fn fopen(path: &Path) -> std::io::Result<usize> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: I30: two C strings.
    let stream = unsafe { libc::fopen(path.as_ptr(), c"w".as_ptr()) };
    if stream.is_null() {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(stream.expose_provenance())
    }
}

/// The process's open descriptors that lead into `directory`.
fn open_files(directory: &Path) -> std::io::Result<usize> {
    let descriptors = std::fs::read_dir("/proc/self/fd")?;
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    Ok(targets
        .filter(|target| target.starts_with(directory))
        .count())
}

fn streams(runtime: &Runtime, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    let file = runtime
        .types()
        .define("demo.File", "struct { Stream uintptr }")?;
    let fclose: Signature = "func(unsafe.Pointer) int32".parse()?;
    let native = Abi::host_native()?;
    // SAFETY: I8: libc's `int fclose(FILE *)`, which is given streams that nobody else closes.
    let fclose = unsafe { CleanupFn::builder(fclose, native).at(libc::fclose as *const ()) };

    writeln!(
        out,
        "Heap objects that own C streams, with libc's fclose as their cleanup"
    )?;
    let mut objects: Vec<Handle> = Vec::new();
    for number in 0..STREAMS {
        let stream = fopen(&scratch.0.join(format!("{number}.txt")))?;
        let object = runtime.enter(|mutator| -> Result<Handle, Box<dyn Error>> {
            let object = mutator.alloc(file)?;
            mutator.store_word(object, 0, stream as u64)?;
            mutator.add_cleanup(object, &fclose, stream as u64)?;
            Ok(mutator.root(object)?)
        })??;
        objects.push(object);
    }
    writeln!(
        out,
        "  {} objects, {} open files",
        objects.len(),
        open_files(&scratch.0)?
    )?;
    runtime.gc()?;
    runtime.block_until_finalizer_queue_empty(PATIENCE)?;
    writeln!(
        out,
        "  collected while they are referred to: {} open files",
        open_files(&scratch.0)?
    )?;
    objects.truncate(1);
    let collection = runtime.gc()?;
    runtime.block_until_finalizer_queue_empty(PATIENCE)?;
    let freed = collection.freed_objects;
    writeln!(
        out,
        "  all references but one dropped, {freed} objects freed: {} open files",
        open_files(&scratch.0)?
    )?;
    objects.clear();
    runtime.gc()?;
    runtime.block_until_finalizer_queue_empty(PATIENCE)?;
    writeln!(
        out,
        "  and the last one: {} open files\n",
        open_files(&scratch.0)?
    )?;
    Ok(())
}

/// One case of Go's test: a pointer, or an interface.
struct Case {
    parameter: &'static str,
    callee: fn(u8) -> Option<usize>,
    /// What its finalizer confirms.
    number: i64,
}

const CASES: [Case; 2] = [
    Case {
        parameter: "*demo.TintPointer",
        callee: seed::pointer,
        number: -1,
    },
    Case {
        parameter: "demo.Tinter",
        callee: seed::interface,
        number: -2,
    },
];

fn register_abi(runtime: &Runtime, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let types = runtime.types();
    types.define("demo.Tint", "int")?;
    types.define("demo.TintPointer", "struct { P *demo.Tint }")?;
    types.define("demo.Tinter", "interface{ M() }")?;
    types.add_method("*demo.TintPointer", "M", "func()", 0)?;
    let host = Arch::host().ok_or("Go's register ABI on this machine is not known")?;
    writeln!(
        out,
        "Go's TestFinalizerRegisterABI for every number of integer argument registers"
    )?;
    writeln!(
        out,
        "  {:>4}  {:9}  {:13}  {:38}  confirmed",
        "regs", "argument", "in", "stub"
    )?;
    for count in 0..=seed::MAX_INT_ARG_REGS {
        for case in &CASES {
            let abi = Abi::go(host).with_int_arg_regs(count.into())?;
            let signature = types.parse_signature(&format!(
                "func({}) (int, float32, [10]uint8)",
                case.parameter
            ))?;
            let assignment = assign(&signature, abi)?;
            let key = StubKey::of(&signature, &assignment, Default::default())?;
            let confirmed = finalize(runtime, signature, abi, case, count)?;
            let argument = if case.parameter.starts_with('*') {
                "pointer"
            } else {
                "interface"
            };
            let places = places(&assignment);
            writeln!(
                out,
                "  {count:>4}  {argument:9}  {places:13}  {:38}  {confirmed}",
                key.to_string()
            )?;
        }
    }
    writeln!(out)?;
    Ok(())
}

/// Where the argument's words are: registers, or offsets from the argument base.
fn places(assignment: &Assignment) -> String {
    let Some(argument) = assignment.args.first() else {
        return String::new();
    };
    let places: Vec<String> = match &argument.place {
        Place::Regs { pieces, .. } => pieces
            .iter()
            .map(|piece| assignment.arg_register(piece.class, piece.index).to_owned())
            .collect(),
        Place::Stack { offset } => (0..argument.size / 8)
            .map(|word| format!("[sp+{}]", offset + 8 * word))
            .collect(),
        _ => Vec::new(),
    };
    places.join(" ")
}

/// Registers the case's callee for an object, drops the object, collects, and returns what the
/// callee confirmed.
fn finalize(
    runtime: &Runtime,
    signature: Signature,
    abi: Abi,
    case: &Case,
    count: u8,
) -> Result<String, Box<dyn Error>> {
    let code = (case.callee)(count).ok_or("no callee for this register count")?;
    let seen = Box::new(Observation::new(code));
    let builder = FinalizerFn::builder(signature, abi).context(seen.context());
    // SAFETY: I8: the seed callee of this case and count; its context lives until it has run.
    let function = unsafe { builder.at(std::ptr::with_exposed_provenance(code)) };
    let (tint, pointer) = (
        runtime.types().id("demo.Tint")?,
        runtime.types().id("demo.TintPointer")?,
    );
    runtime.enter(|mutator| -> Result<(), Box<dyn Error>> {
        let number = mutator.alloc(tint)?;
        mutator.store_word(number, 0, case.number as u64)?;
        let object = mutator.alloc(pointer)?;
        mutator.store_ref(object, 0, Some(number))?;
        mutator.set_finalizer(object, &function)?;
        Ok(())
    })??;
    runtime.gc()?;
    runtime.block_until_finalizer_queue_empty(PATIENCE)?;
    let faults = seen.faults();
    Ok(if faults.is_empty() {
        seen.confirmed().to_string()
    } else {
        format!("wrong: {faults:?}")
    })
}

fn figures(runtime: &Runtime, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let stats = runtime.stats();
    let stubs = &stats.stubs;
    writeln!(out, "Figures")?;
    writeln!(
        out,
        "  stub cache: {} stubs, {} hits, {} misses, {} bytes of code, made in {:?}",
        stubs.stubs, stubs.hits, stubs.misses, stubs.code_bytes, stubs.compile_time
    )?;
    writeln!(
        out,
        "  queue: {} calls queued, {} executed, {} failed, in {} drains, {} block",
        stats.queued, stats.executed, stats.failed, stats.drains, stats.queue_blocks
    )?;
    writeln!(
        out,
        "  heap: {} collections, {} objects freed, {} live",
        stats.heap.collections, stats.heap.freed_objects, stats.heap.objects
    )?;
    Ok(())
}
