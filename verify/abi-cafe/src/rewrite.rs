//! Callers and callees as abi-cafe writes them, changed so that all calls go through fing.
#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::declarations::{Function, Types};

/// What both sides take from the [library](crate::library).
const PRELUDE: &str = r#"
#include <dlfcn.h>
#include <stdlib.h>

static void *fing_library(const char *name) {
    static void *library;
    if (!library) library = dlopen(getenv("FING_ABI_CAFE_LIBRARY"), RTLD_NOW);
    void *found = library ? dlsym(library, name) : 0;
    if (!found) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    return found;
}
"#;

/// What callers take.
const CALL: &str = r#"
static void fing_call(const char *signature, void *code, const void **arguments, void *result) {
    static void (*call)(const char *, void *, const void **, void *);
    if (!call) call = fing_library("fing_call");
    call(signature, code, arguments, result);
}
"#;

/// What callees take.
const ENTRY: &str = r#"
static void *fing_entry(const char *signature, void (*handler)(const void **, void *)) {
    void *(*entry)(const char *, void (*)(const void **, void *)) = fing_library("fing_entry");
    return entry(signature, handler);
}
"#;

/// The first line of abi-cafe's calls.
const CALLS: &str = "void do_test(void) {";

/// A file of callers: each function that it calls is called by a stub.
///
/// # Errors
/// The file is not as abi-cafe writes them.
pub fn callers(text: &str) -> Result<String, String> {
    let at = text
        .find(CALLS)
        .ok_or_else(|| format!("found no line {CALLS:?}"))?;
    let (declared, calls) = text.split_at(at);
    let types = Types::read(declared)?;
    let mut made = format!("{PRELUDE}{CALL}");
    let mut names = String::new();
    for line in declared.lines() {
        let Some(function) = heading(line, ");", &types)? else {
            continue;
        };
        let Function {
            name,
            result,
            parameters,
            signature,
        } = &function;
        let list = list(parameters.iter().map(|(declared, _)| declared.clone()));
        let addresses = list_of(parameters, |name| format!("&{name}"));
        let (place, to, back) = match result.as_str() {
            "void" => (String::new(), "0", ""),
            _ => (
                format!("{result} fing_result; "),
                "&fing_result",
                " return fing_result;",
            ),
        };
        // Writing to a String never fails; the same below.
        let _ = writeln!(
            made,
            "static {result} fing_{name}({list}) {{ {place}const void *fing_arguments[] = \
             {{{addresses}0}}; fing_call(\"{signature}\", {name}, fing_arguments, {to});{back} }}"
        );
        let _ = writeln!(names, "#define {name} fing_{name}");
    }
    if names.is_empty() {
        return Err("found no function that is called".into());
    }
    Ok(format!("{declared}{made}{names}{calls}"))
}

/// A file of callees: each function that it defines is called through an entry.
///
/// # Errors
/// The file is not as abi-cafe writes them.
pub fn callees(text: &str) -> Result<String, String> {
    let types = Types::read(text)?;
    let mut own = String::new();
    let mut made = format!("{PRELUDE}{ENTRY}");
    let mut count = 0;
    for line in text.lines() {
        let Some(function) = heading(line, ") {", &types)? else {
            let _ = writeln!(own, "{line}");
            continue;
        };
        count += 1;
        let Function {
            name,
            result,
            parameters,
            signature,
        } = &function;
        let declared = list(parameters.iter().map(|(declared, _)| declared.clone()));
        let _ = writeln!(own, "static {result} fing_{name}({declared}) {{");
        let mut values = String::new();
        for (n, (declared, name)) in parameters.iter().enumerate() {
            let _ = write!(
                values,
                "{declared}; memcpy(&{name}, fing_arguments[{n}], sizeof {name}); "
            );
        }
        let call = format!(
            "fing_{name}({})",
            list(parameters.iter().map(|(_, name)| name.clone()))
        );
        let call = match result.as_str() {
            "void" => format!("{call};"),
            _ => format!(
                "{result} fing_result = {call}; memcpy(fing_to, &fing_result, sizeof fing_result);"
            ),
        };
        let _ = writeln!(
            made,
            "static void fing_handle_{name}(const void **fing_arguments, void *fing_to) {{ \
             {values}{call} }}\n\
             static void *fing_code_{name} __attribute__((used));\n\
             __asm__(\".text\\n.globl {name}\\n.type {name}, @function\\n\
             {name}: jmp *fing_code_{name}(%rip)\\n\");\n\
             __attribute__((constructor)) static void fing_make_{name}(void) {{ \
             fing_code_{name} = fing_entry(\"{signature}\", fing_handle_{name}); }}"
        );
    }
    if count == 0 {
        return Err("found no function".into());
    }
    Ok(format!("{own}{made}"))
}

/// The function that a line declares or defines, if it is such a line.
fn heading(line: &str, end: &str, types: &Types) -> Result<Option<Function>, String> {
    let other = ["typedef ", "extern ", "#", " ", "}", CALLS];
    let text = line
        .strip_suffix(end)
        .filter(|_| !other.iter().any(|o| line.starts_with(o)));
    text.map(|text| types.function(&format!("{text})")))
        .transpose()
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// What `part` makes of each parameter's name, each followed by a comma.
fn list_of(parameters: &[(String, String)], part: impl Fn(&str) -> String) -> String {
    parameters
        .iter()
        .map(|(_, name)| part(name) + ", ")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: &str = "#define f(x) g(x);\nextern void (*S)(int);\n\
                         typedef struct A {\n    float x;\n} A;\n";

    #[test]
    fn calls_go_by_stubs() {
        let text =
            format!("{TYPES}A add(A a, bool b);\nvoid do_test(void) {{\n    add(a, b);\n}}\n");
        let made = callers(&text).unwrap();
        assert!(made.starts_with(TYPES));
        let call = "A fing_result; const void *fing_arguments[] = {&a, &b, 0}; \
                    fing_call(\"func(struct { M0 float32 }, bool) struct { M0 float32 }\", add, \
                    fing_arguments, &fing_result); return fing_result;";
        assert!(
            made.contains(&format!("static A fing_add(A a, bool b) {{ {call} }}")),
            "{made}"
        );
        assert!(made.ends_with("#define add fing_add\nvoid do_test(void) {\n    add(a, b);\n}\n"));
        assert_eq!(
            callers(TYPES),
            Err("found no line \"void do_test(void) {\"".into())
        );
    }

    #[test]
    fn functions_become_handlers() {
        let text = format!("{TYPES}void set(A a) {{\n    use(a);\n}}\nA get() {{\n}}\n");
        let made = callees(&text).unwrap();
        assert!(
            made.contains("static void fing_set(A a) {\n    use(a);\n}\nstatic A fing_get() {")
        );
        assert!(made.contains(
            "static void fing_handle_set(const void **fing_arguments, void *fing_to) { A a; \
             memcpy(&a, fing_arguments[0], sizeof a); fing_set(a); }"
        ));
        assert!(made.contains("fing_code_get = fing_entry(\"func() struct { M0 float32 }\""));
        assert_eq!(callees(TYPES), Err("found no function".into()));
    }
}
