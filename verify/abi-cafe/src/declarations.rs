//! C's declarations, as far as abi-cafe writes them, and what fing calls their types.
#![forbid(unsafe_code)]

use std::collections::HashMap;

/// A function: its C text and its signature for fing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The result's type in C.
    pub result: String,
    /// Each parameter as C declares it, and its name.
    pub parameters: Vec<(String, String)>,
    /// The signature, as [`fing_stubs::Signature`] parses it.
    pub signature: String,
}

/// Types by the names that C has for them.
#[derive(Clone, Debug)]
pub struct Types(HashMap<String, String>);

/// The types that abi-cafe does not define itself.
const KNOWN: &[(&str, &str)] = &[
    ("int8_t", "int8"),
    ("int16_t", "int16"),
    ("int32_t", "int32"),
    ("int64_t", "int64"),
    ("__int128_t", "C.int128"),
    ("uint8_t", "uint8"),
    ("uint16_t", "uint16"),
    ("uint32_t", "uint32"),
    ("uint64_t", "uint64"),
    ("__uint128_t", "C.uint128"),
    ("_Float16", "C.float16"),
    ("float", "float32"),
    ("double", "float64"),
    // System V gives it the class of a vector of 16 bytes, and its alignment.
    ("__float128", "C.vector[2]float64"),
    ("_Float128", "C.vector[2]float64"),
    ("bool", "bool"),
    ("void", "void"),
];

/// A struct without members.
const EMPTY: &str = "struct {  }";
/// Every pointer.
const POINTER: &str = "unsafe.Pointer";

impl Types {
    /// The types that a file defines.
    ///
    /// # Errors
    /// A line that is not as abi-cafe writes it.
    pub fn read(text: &str) -> Result<Types, String> {
        let known = KNOWN.iter().map(|&(c, ours)| (c.into(), ours.into()));
        let mut types = Types(known.collect());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(rest) = line.strip_prefix("typedef ") else {
                continue;
            };
            let Some(head) = rest.strip_suffix('{') else {
                types.alias(rest)?;
                continue;
            };
            let body: Vec<&str> = lines.by_ref().take_while(|l| !l.starts_with('}')).collect();
            let words: Vec<&str> = head.split_whitespace().collect();
            let [keyword, name] = words[..] else {
                return Err(format!("found {line:?}, wanted a struct, union or enum"));
            };
            let ty = match keyword {
                "struct" => format!("struct {{ {} }}", types.members(&body)?),
                "union" => format!("C.union {{ {} }}", types.members(&body)?),
                // No member of abi-cafe's is negative, so gcc takes an unsigned int.
                "enum" => "uint32".into(),
                _ => {
                    return Err(format!(
                        "found {keyword} in {line:?}, wanted a struct's or such"
                    ));
                }
            };
            types.0.insert(name.into(), ty);
        }
        Ok(types)
    }

    /// `uint32_t (*RefArray)[7];`, or a forward declaration, which says nothing.
    fn alias(&mut self, text: &str) -> Result<(), String> {
        if ["struct ", "union ", "enum "]
            .iter()
            .any(|tag| text.starts_with(tag))
        {
            return Ok(());
        }
        let (name, ty) = self.declaration(text.trim_end_matches(';'))?;
        self.0.insert(name, ty);
        Ok(())
    }

    fn members(&self, lines: &[&str]) -> Result<String, String> {
        let mut all = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            let (_, ty) = self.declaration(line.trim().trim_end_matches(';'))?;
            all.push(format!("M{n} {ty}"));
        }
        Ok(all.join("; "))
    }

    /// Name and type of `float *x`, `float x[3]`, `float (*x)[3]`.
    ///
    /// # Errors
    /// A type that is not known.
    fn declaration(&self, text: &str) -> Result<(String, String), String> {
        let text = text.trim();
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        let (base, declarator) = text.split_at(end.unwrap_or(text.len()));
        let base = self
            .0
            .get(base)
            .ok_or_else(|| format!("{base:?} in {text:?} is no type"))?;
        declarator_of(declarator.trim(), base.clone())
            .ok_or_else(|| format!("found {text:?}, wanted a type and a name"))
    }

    /// The function that a prototype or the head of a definition declares, up to the `)`.
    ///
    /// # Errors
    /// A type that is not known, an array as a parameter.
    pub fn function(&self, text: &str) -> Result<Function, String> {
        let wrong = || format!("found {text:?}, wanted a function");
        let (head, list) = text
            .trim()
            .strip_suffix(')')
            .ok_or_else(wrong)?
            .split_once('(')
            .ok_or_else(wrong)?;
        let at = head.rfind([' ', '*']).ok_or_else(wrong)? + 1;
        let (result, name) = head.split_at(at);
        let (_, of_result) = self.declaration(&format!("{result}result"))?;
        let (mut parameters, mut types) = (Vec::new(), Vec::new());
        for parameter in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, ty) = self.declaration(parameter)?;
            if ty.starts_with('[') {
                return Err(format!("{parameter:?} is an array, which C does not pass"));
            }
            parameters.push((parameter.to_owned(), name));
            types.push(ty);
        }
        // Under System V, GNU C's result without bytes is none; ISO C has no such result, and fing
        // refuses it.
        let results = if ["void", EMPTY].contains(&&*of_result) {
            ""
        } else {
            &of_result
        };
        Ok(Function {
            name: name.into(),
            result: result.trim().into(),
            parameters,
            signature: format!("func({}) {results}", types.join(", "))
                .trim()
                .into(),
        })
    }
}

/// The name in a declarator, and its type if what the declarator says is done to `ty`.
fn declarator_of(text: &str, ty: String) -> Option<(String, String)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('*') {
        return declarator_of(rest, POINTER.into());
    }
    if let Some(text) = text.strip_suffix(']') {
        // The last dimension is the innermost.
        let (rest, length) = text.rsplit_once('[')?;
        return declarator_of(rest, format!("[{length}]{ty}"));
    }
    if let Some(inner) = text.strip_prefix('(') {
        return declarator_of(inner.strip_suffix(')')?, ty);
    }
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_name.then(|| (text.to_owned(), ty))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
typedef struct Point Point;
typedef uint32_t (*Row)[7];
typedef enum Mode {
    Mode_A,
    Mode_B,
} Mode;
typedef struct Point {
    float x;
    int8_t grid[2][3];
    Row *rows[4];
} Point;
typedef struct None {
} None;
typedef union Either {
    Point point;
    __int128_t number;
} Either;
";

    #[test]
    fn types_and_functions_are_read() {
        let types = Types::read(FILE).unwrap();
        let read = |text: &str| types.function(text).unwrap();
        const POINT: &str = "struct { M0 float32; M1 [2][3]int8; M2 [4]unsafe.Pointer }";
        let function = read("Point make(Either either, Mode (*mode)[2], bool b)");
        let either = format!("C.union {{ M0 {POINT}; M1 C.int128 }}");
        let wanted = format!("func({either}, unsafe.Pointer, bool) {POINT}");
        assert_eq!(
            (function.name.as_str(), function.signature),
            ("make", wanted.clone())
        );
        assert_eq!(
            function.parameters[1],
            ("Mode (*mode)[2]".into(), "mode".into())
        );
        wanted.parse::<fing_stubs::Signature>().unwrap();
        assert_eq!(read("void stop()").signature, "func()");
        assert_eq!(read("None none(None n)").signature, "func(struct {  })");
        assert_eq!(
            read("void *next(Mode m)").signature,
            "func(uint32) unsafe.Pointer"
        );
        assert_eq!(read("void *next(Mode m)").result, "void *");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let types = Types::read(FILE).unwrap();
        let refused = |text: &str| types.function(text).unwrap_err();
        assert_eq!(
            refused("void f(Pint p)"),
            "\"Pint\" in \"Pint p\" is no type"
        );
        assert!(refused("void f(float x[3])").contains("an array, which C does not pass"));
        assert!(refused("void f(float x:3)").contains("wanted a type and a name"));
        assert!(
            Types::read("typedef class A {\n} A;\n")
                .unwrap_err()
                .contains("class")
        );
    }
}
