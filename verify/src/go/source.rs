//! The program's text.
#![forbid(unsafe_code)]

use std::fmt::Write;

use fing_oracles::emulator::Isa;

use super::{Callee, Memory};

/// The module file.
pub(super) const MODULE: &str = "module scale\n\ngo 1.24\n";

const PRELUDE: &str = r#"// Made by fing-verify. No function here needs a live runtime.
package main

import "unsafe"

// What calls leave behind.
var (
	Calls uint64 // how many
	Last  uint64 // the number of the last function called
	Faults uint64 // arguments that differ
	First uint64 // the first of them
)

//go:noinline
func called(number uint64) {
	Calls++
	Last = number
}

// check compares size bytes at p with those at offset at of Data, where Mask has ones.
//
//go:noinline
func check(number uint64, p unsafe.Pointer, at, size uintptr) {
	for i := uintptr(0); i < size; i++ {
		found := *(*uint8)(unsafe.Add(p, i))
		wanted := *(*uint8)(unsafe.Add(unsafe.Pointer(&Data), at+i))
		mask := *(*uint8)(unsafe.Add(unsafe.Pointer(&Mask), at+i))
		if (found^wanted)&mask != 0 {
			if Faults == 0 {
				First = number
			}
			Faults++
			return
		}
	}
}
"#;

/// Bytes of all values, one after the other, each at a multiple of 16.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    mask: Vec<u8>,
}

impl Data {
    fn add(&mut self, value: &Memory) -> usize {
        let at = self.bytes.len();
        self.bytes.extend(&value.bytes);
        self.mask.extend(&value.mask);
        let end = self.bytes.len().next_multiple_of(16);
        self.bytes.resize(end, 0);
        self.mask.resize(end, 0);
        at
    }
}

/// The text for these functions.
pub(super) fn program(isa: Isa, callees: &[Callee]) -> String {
    let mut text = PRELUDE.to_owned();
    let mut data = Data::default();
    let mut names = Vec::new();
    for (number, callee) in callees.iter().enumerate() {
        function(&mut text, &mut data, number, callee);
        names.push(format!("C{number}"));
    }
    array(&mut text, isa, "Data", &data.bytes);
    array(&mut text, isa, "Mask", &data.mask);
    // The linker keeps what main reaches. Writing to a String never fails; the same below.
    let _ = writeln!(
        text,
        "var keep = []any{{{}}}\n\nfunc main() {{\n\tprintln(len(keep))\n}}",
        names.join(", ")
    );
    text
}

fn function(text: &mut String, data: &mut Data, number: usize, callee: &Callee) {
    let list = |prefix: &str, types: &mut dyn Iterator<Item = String>| {
        let named: Vec<String> = types
            .enumerate()
            .map(|(n, ty)| format!("{prefix}{n} {ty}"))
            .collect();
        named.join(", ")
    };
    let params = list(
        "a",
        &mut callee.signature.arguments().map(ToString::to_string),
    );
    let results = list(
        "r",
        &mut callee.signature.results().iter().map(ToString::to_string),
    );
    let _ = writeln!(
        text,
        "\n//go:noinline\nfunc C{number}({params}) ({results}) {{\n\tcalled({number})"
    );
    for (n, value) in callee
        .args
        .iter()
        .enumerate()
        .filter(|(_, v)| !v.bytes.is_empty())
    {
        let at = data.add(value);
        let _ = writeln!(
            text,
            "\tcheck({n}, unsafe.Pointer(&a{n}), {at}, {})",
            value.bytes.len()
        );
    }
    for (n, (value, ty)) in callee
        .results
        .iter()
        .zip(callee.signature.results())
        .enumerate()
    {
        if !value.bytes.is_empty() {
            let at = data.add(value);
            let _ = writeln!(
                text,
                "\tr{n} = *(*{ty})(unsafe.Add(unsafe.Pointer(&Data), {at}))"
            );
        }
    }
    text.push_str("\treturn\n}\n");
}

/// A variable of words, laid out by the linker.
fn array(text: &mut String, isa: Isa, name: &str, bytes: &[u8]) {
    let words: Vec<String> = bytes
        .chunks_exact(8)
        .map(|chunk| {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            let word = if isa.big_endian() {
                u64::from_be_bytes(word)
            } else {
                u64::from_le_bytes(word)
            };
            format!("{word:#x}")
        })
        .collect();
    let _ = writeln!(text, "\nvar {name} = [...]uint64{{{}}}", words.join(", "));
}
