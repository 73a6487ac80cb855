//! minigo: a compiler for a subset of Go, whose programs run on fing's heap.
//!
//! See the README beside this crate for the subset, and for how its parts fit together.

mod ast;
mod check;
mod constant;
mod layout;
mod lower;
mod parse;
mod run;
mod scan;
mod source;
mod types;

pub use run::Options;
pub use source::CompileError;

use std::collections::HashSet;
use std::panic::resume_unwind;
use std::thread;

use ast::{Decl, File};
use check::entity::Program;
use source::{Checked, Pos, Sources, fault};

/// The library, in Go: by the path that imports it.
const PRELUDE: &[(&str, &str)] = &[
    ("runtime", include_str!("../prelude/runtime.go")),
    ("runtime/debug", include_str!("../prelude/debug.go")),
    ("internal/channel", include_str!("../prelude/channel.go")),
    ("internal/value", include_str!("../prelude/value.go")),
    ("fmt", include_str!("../prelude/fmt.go")),
    ("errors", include_str!("../prelude/errors.go")),
    ("io", include_str!("../prelude/io.go")),
    ("io/fs", include_str!("../prelude/fs.go")),
    ("os", include_str!("../prelude/os.go")),
    ("sort", include_str!("../prelude/sort.go")),
    ("strconv", include_str!("../prelude/strconv.go")),
    ("strings", include_str!("../prelude/strings.go")),
    ("sync", include_str!("../prelude/sync.go")),
    ("sync/atomic", include_str!("../prelude/atomic.go")),
    ("testing", include_str!("../prelude/testing.go")),
    ("time", include_str!("../prelude/time.go")),
    ("weak", include_str!("../prelude/weak.go")),
];

/// The files of a program, each behind those that it imports.
#[derive(Default)]
struct Loader {
    sources: Sources,
    next_id: ast::ExprId,
    files: Vec<File>,
    known: HashSet<String>,
}

impl Loader {
    fn parse(&mut self, name: &str, text: &str) -> Checked<(File, Pos)> {
        let start = self.sources.add(name, text);
        Ok((parse::parse(text, start, &mut self.next_id)?, start))
    }

    fn import(&mut self, path: &str, pos: Pos) -> Checked<()> {
        if !self.known.insert(path.to_owned()) {
            return Ok(());
        }
        let Some((_, text)) = PRELUDE.iter().find(|(known, _)| *known == path) else {
            return fault(pos, format!("package {path} is outside minigo's subset"));
        };
        let (file, _) = self.parse(&format!("{path}.go"), text)?;
        self.add(file)
    }

    fn add(&mut self, file: File) -> Checked<()> {
        for import in &file.imports {
            self.import(&import.path, import.pos)?;
        }
        self.files.push(file);
        Ok(())
    }

    /// Parses and checks a program with what it imports.
    fn program(&mut self, name: &str, text: &str, tests: bool) -> Checked<Program> {
        let (mut main, start) = self.parse(name, text)?;
        if tests {
            let text = main_of_tests(&main, start)?;
            let (with_main, _) = self.parse("main of tests", &text)?;
            main.package = with_main.package;
            main.decls.extend(with_main.decls);
        }
        if &*main.package != "main" {
            return fault(start, "the program is not package main");
        }
        let mut imports = main.imports.iter();
        if let Some(import) = imports.find(|import| import.path.starts_with("internal/")) {
            let path = &import.path;
            return fault(
                import.pos,
                format!("use of internal package {path} not allowed"),
            );
        }
        self.import("runtime", start)?;
        self.import("internal/channel", start)?;
        self.add(main)?;
        check::check(std::mem::take(&mut self.files), self.next_id)
    }
}

/// A function `main` that runs the tests of a file, as `go test` makes one.
fn main_of_tests(file: &File, start: Pos) -> Checked<String> {
    let tests = file.decls.iter().filter_map(|decl| match decl {
        Decl::Func(func) if func.receiver.is_none() => {
            let rest = func.name.strip_prefix("Test")?;
            let is = !rest.starts_with(char::is_lowercase);
            is.then(|| format!("{{{0:?}, {0}}}", func.name))
        }
        _ => None,
    });
    let tests: Vec<String> = tests.collect();
    if tests.is_empty() {
        return fault(start, "no tests to run");
    }
    let tests = format!("[]testing.InternalTest{{{}}}", tests.join(", "));
    let main = format!("func main() {{ testing.Main(nil, {tests}, nil, nil) }}");
    Ok(format!("package main\n{main}\n"))
}

fn compile(name: &str, text: &str, tests: bool) -> Result<Program, CompileError> {
    let mut loader = Loader::default();
    let checked = loader.program(name, text, tests);
    let mut program = checked.map_err(|fault| loader.sources.error(&fault))?;
    program.sources = loader.sources;
    Ok(program)
}

/// Checks a program without compiling it.
///
/// # Errors
/// The first mistake in the program, or what is outside the subset.
pub fn check_program(name: &str, text: &str) -> Result<(), CompileError> {
    compile(name, text, false).map(drop)
}

/// Compiles a program and runs it. The process ends when the program ends, so this returns only
/// with [`Options::clif`].
///
/// # Errors
/// What is wrong with the program, or what this machine lacks, as text.
pub fn run_program(name: &str, text: &str, options: Options) -> Result<(), String> {
    let prepare = || {
        let program = compile(name, text, options.test).map_err(|error| error.to_string())?;
        run::prepare(program, options)
    };
    // The thread of the first goroutine takes over the memory that this one gives back.
    let ready = thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(run::STACK);
        match builder
            .spawn_scoped(scope, prepare)
            .map(|thread| thread.join())
        {
            Ok(Ok(ready)) => ready,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => Err(format!("no thread for the compiler: {error}")),
        }
    });
    ready?.map_or(Ok(()), |ready| ready.run())
}
