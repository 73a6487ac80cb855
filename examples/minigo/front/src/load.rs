//! A program with all that it imports.

use std::collections::HashSet;
use std::mem::take;

use crate::ast::{Decl, ExprId, File};
use crate::check::check;
use crate::parse::parse;
use crate::program::Program;
use crate::source::{Checked, CompileError, Pos, Sources, fault};

/// The packages that programs can import. Those under `internal/` only packages import.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    /// Their paths and texts, each of which is one file. `runtime` is among them.
    pub packages: &'static [(&'static str, &'static str)],
    /// Those that each program has, as what it is compiled to needs them.
    pub always: &'static [&'static str],
}

/// The files of a program, each behind those that it imports.
struct Loader {
    library: Library,
    sources: Sources,
    next_id: ExprId,
    files: Vec<File>,
    known: HashSet<String>,
}

impl Loader {
    fn parse(&mut self, name: &str, text: &str) -> Checked<(File, Pos)> {
        let start = self.sources.add(name, text);
        Ok((parse(text, start, &mut self.next_id)?, start))
    }

    fn import(&mut self, path: &str, pos: Pos) -> Checked<()> {
        if !self.known.insert(path.to_owned()) {
            return Ok(());
        }
        let mut packages = self.library.packages.iter();
        let Some((_, text)) = packages.find(|(known, _)| *known == path) else {
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
        for path in self.library.always {
            self.import(path, start)?;
        }
        self.add(main)?;
        check(take(&mut self.files), self.next_id)
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

/// Parses and checks the program of one file and what it imports. With `tests`, the file has no
/// function `main`, but functions `TestX`, which the program runs.
///
/// # Errors
/// The first mistake in the program, or what is outside the subset.
pub fn load(
    name: &str,
    text: &str,
    tests: bool,
    library: Library,
) -> Result<Program, CompileError> {
    let mut loader = Loader {
        library,
        sources: Sources::default(),
        next_id: 0,
        files: Vec::new(),
        known: HashSet::new(),
    };
    let checked = loader.program(name, text, tests);
    let mut program = checked.map_err(|fault| loader.sources.error(&fault))?;
    program.sources = loader.sources;
    Ok(program)
}
