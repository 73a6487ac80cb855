//! Assignments to look at: Go's own lines, a picture of the frame, JSON.
//!
//! ```
//! use fing_stubs::{abi::{Abi, Arch}, assign::assign};
//!
//! let sig = "func(any, [2]int) (int8, error)".parse()?;
//! let a = assign(&sig, Abi::go(Arch::Amd64))?;
//! assert_eq!(a.to_string(), "\
//! IN 0: R{ I0 I1 } spilloffset: 0 typ: interface {}
//! IN 1: R{ } offset: 0 typ: [2]int
//! OUT 0: R{ I0 } spilloffset: -1 typ: int8
//! OUT 1: R{ I1 I2 } spilloffset: -1 typ: error
//! offsetToSpillArea: 16 spillAreaSize: 16");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter, Write};

use serde_json::{Map, Value as Json, json};

use crate::abi::{Abi, Float32Image, RegClass};
use crate::assign::{Assignment, Piece, Place, Value};
use crate::signature::{Signature, WORD};

/// Go's lines, as [`Assignment::to_go_lines`].
impl Display for Assignment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, value) in self.args.iter().enumerate() {
            writeln!(f, "IN {i}: {}", self.go_line(value))?;
        }
        for (i, value) in self.results.iter().enumerate() {
            writeln!(f, "OUT {i}: {}", self.go_line(value))?;
        }
        if let Some(size) = self.hidden_result {
            writeln!(f, "hiddenResult: R{{ I0 }} size: {size}")?;
        }
        write!(
            f,
            "offsetToSpillArea: {} spillAreaSize: {}",
            self.spill_off, self.spill_size
        )
    }
}

impl Assignment {
    /// The assignment in the form Go's compiler and its tests use: one line for each value, then the spill area.
    ///
    /// `spilloffset` counts from the spill area and is -1 where there is no slot; `offset` counts from the argument base.
    /// Two lines are no form of Go's: native results behind a hidden pointer and the pointer itself.
    pub fn to_go_lines(&self) -> String {
        self.to_string()
    }

    fn go_line(&self, value: &Value) -> String {
        let ty = &value.ty;
        match &value.place {
            Place::Stack { offset } => format!("R{{ }} offset: {offset} typ: {ty:#}"),
            Place::Hidden { offset } => format!("R{{ }} hiddenoffset: {offset} typ: {ty:#}"),
            Place::Split { piece, offset } => {
                let register = short_name(piece);
                format!("R{{ {register} }} offset: {offset} typ: {ty:#}")
            }
            Place::Reference { pointer, copy } => {
                let pointer = match &**pointer {
                    Place::Stack { offset } => format!("R{{ }} offset: {offset}"),
                    place => {
                        let registers: String = place
                            .pieces()
                            .iter()
                            .map(|piece| format!(" {}", short_name(piece)))
                            .collect();
                        format!("R{{{registers} }}")
                    }
                };
                format!("{pointer} copy: {copy} typ: {ty:#}")
            }
            Place::Regs { pieces, spill } => {
                let registers: String = pieces
                    .iter()
                    .map(|piece| format!(" {}", short_name(piece)))
                    .collect();
                let spill = spill.map_or("-1".into(), |spill| {
                    spill.wrapping_sub(self.spill_off).to_string()
                });
                format!("R{{{registers} }} spilloffset: {spill} typ: {ty:#}")
            }
        }
    }

    /// The assignment as a JSON object: the schema of `tests/vectors/arch.jsonl`, field for field. `sig` is the signature
    /// the assignment was made of; its text goes into the object.
    ///
    /// Native assignments add `hidden_result` and per value `hidden`; their pieces add `reg_off` where it is not 0.
    pub fn to_json(&self, id: &str, sig: &Signature) -> Json {
        let mut line = Map::new();
        line.insert("id".into(), json!(id));
        line.insert("arch".into(), json!(self.abi.arch().name()));
        line.insert("sig".into(), json!(sig.to_string()));
        if sig.receiver().is_some() {
            line.insert("method".into(), json!(true));
        }
        line.insert("int_regs".into(), json!(self.abi.int_regs()));
        line.insert("float_regs".into(), json!(self.abi.float_regs()));
        line.insert("sp_bias".into(), json!(self.argument_base()));
        let args = self
            .args
            .iter()
            .map(|value| self.json_value(value, Assignment::arg_register));
        line.insert("in".into(), args.collect());
        let results = self
            .results
            .iter()
            .map(|value| self.json_value(value, Assignment::result_register));
        line.insert("out".into(), results.collect());
        if let Some(size) = self.hidden_result {
            line.insert("hidden_result".into(), json!(size));
        }
        let numbers = [
            ("int_in", self.int_in as u64),
            ("float_in", self.float_in as u64),
            ("int_out", self.int_out as u64),
            ("float_out", self.float_out as u64),
            ("args_end", self.args_end),
            ("results_off", self.results_off),
            ("results_end", self.results_end),
            ("spill_off", self.spill_off),
            ("spill_size", self.spill_size),
            ("frame_size", self.frame_size),
        ];
        line.extend(numbers.map(|(name, number)| (name.to_string(), json!(number))));
        Json::Object(line)
    }

    fn json_value(
        &self,
        value: &Value,
        name: fn(&Assignment, RegClass, usize) -> &'static str,
    ) -> Json {
        let mut object = Map::new();
        object.insert("type".into(), json!(value.ty.to_string()));
        object.insert("size".into(), json!(value.size));
        object.insert("align".into(), json!(value.align));
        match &value.place {
            Place::Stack { offset } => {
                object.insert("stack".into(), json!(offset));
            }
            Place::Hidden { offset } => {
                object.insert("hidden".into(), json!(offset));
            }
            Place::Split { piece, offset } => {
                let register = name(self, piece.class, piece.index);
                object.insert("regs".into(), json!([json_piece(piece, register)]));
                object.insert("stack".into(), json!(offset));
            }
            Place::Reference { pointer, copy } => {
                object.insert("copy".into(), json!(copy));
                match &**pointer {
                    Place::Stack { offset } => object.insert("stack".into(), json!(offset)),
                    place => {
                        let pieces = place.pieces().iter();
                        let names = pieces.map(|piece| name(self, piece.class, piece.index));
                        object.insert("pointer".into(), names.collect())
                    }
                };
            }
            Place::Regs { pieces, spill } => {
                let piece = |piece: &Piece| json_piece(piece, name(self, piece.class, piece.index));
                object.insert("regs".into(), pieces.iter().map(piece).collect());
                if let Some(spill) = spill {
                    object.insert("spill".into(), json!(spill));
                }
            }
        }
        Json::Object(object)
    }
}

fn json_piece(piece: &Piece, name: &str) -> Json {
    let mut object = Map::new();
    object.insert("class".into(), json!(piece.class.to_string()));
    object.insert("index".into(), json!(piece.index));
    object.insert("name".into(), json!(name));
    object.insert("off".into(), json!(piece.off));
    object.insert("size".into(), json!(piece.size));
    if piece.reg_off != 0 {
        object.insert("reg_off".into(), json!(piece.reg_off));
    }
    // The alternate form is how the compiler writes types; the vectors' own text is compact.
    object.insert("kind".into(), json!(format!("{:#}", piece.kind)));
    Json::Object(object)
}

/// `I0`, `F3`: class and place in the sequence.
fn short_name(piece: &Piece) -> String {
    let class = match piece.class {
        RegClass::Int => 'I',
        RegClass::Float => 'F',
    };
    format!("{class}{}", piece.index)
}

/// A stretch of the frame.
struct Row {
    from: u64,
    to: u64,
    area: &'static str,
    text: String,
}

impl Assignment {
    /// The frame drawn from the argument base up, lowest address first, and the registers beside it.
    ///
    /// Offsets are bytes from the argument base; a row's second number is where it ends.
    pub fn frame_picture(&self) -> String {
        let mut out = String::new();
        self.write_picture(&mut out).unwrap_or_default();
        out
    }

    fn write_picture(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "{}: frame of {} bytes", self.abi, self.frame_size)?;
        self.write_registers(out)?;
        let rows = self.rows();
        let width = rows
            .iter()
            .map(|row| row.text.chars().count())
            .fold(24, usize::max);
        let line = format!("+{}+", "-".repeat(width + 2));
        writeln!(
            out,
            "\n  offset       {line}  <- argument base = {}",
            self.base_text()
        )?;
        let mut area = "";
        for row in &rows {
            let (text, mut label) = (&row.text, "");
            if row.area != area {
                if !area.is_empty() {
                    writeln!(out, "{:>14} {line}", "")?;
                }
                (area, label) = (row.area, row.area);
            }
            let picture = format!("{:>6}..{:<6} | {text:<width$} |  {label}", row.from, row.to);
            writeln!(out, "{}", picture.trim_end())?;
        }
        writeln!(out, "{:>14} {line}", self.frame_size)
    }

    fn base_text(&self) -> String {
        let machine = self.abi.machine();
        let (base, sp) = (self.argument_base(), machine.stack_pointer);
        match machine.link {
            None => format!("{sp} at the call, which pushes the return address below"),
            Some(link) => format!("{sp}+{base} at the call; below it the callee may save {link}"),
        }
    }

    /// Bytes from the stack pointer at the call instruction up to the argument base.
    pub fn argument_base(&self) -> u64 {
        self.abi
            .native_table()
            .map_or(self.abi.machine().argument_base, |native| {
                native.argument_base
            })
    }

    fn write_registers(&self, out: &mut String) -> fmt::Result {
        if self.int_in + self.float_in + self.int_out + self.float_out == 0
            && self.hidden_result.is_none()
        {
            return writeln!(out, "\n  no registers");
        }
        writeln!(out, "\n  registers")?;
        if let Some(size) = self.hidden_result {
            let own = self.abi.native_table().and_then(|native| native.hidden);
            let register = own.unwrap_or(self.arg_register(RegClass::Int, 0));
            writeln!(
                out,
                "    {register:<6} -> address of {size} bytes for the results"
            )?;
        }
        for (i, value) in self.args.iter().enumerate() {
            if let Place::Reference { pointer, copy } = &value.place {
                for piece in pointer.pieces() {
                    let register = self.arg_register(piece.class, piece.index);
                    writeln!(
                        out,
                        "    {register:<6} <- address of argument {i}'s copy at {copy}"
                    )?;
                }
            }
            for piece in value.pieces() {
                let register = self.arg_register(piece.class, piece.index);
                writeln!(
                    out,
                    "    {register:<6} <- {}",
                    describe(&format!("argument {i}"), value, piece, self.abi)
                )?;
            }
        }
        for (i, value) in self.results.iter().enumerate() {
            for piece in value.pieces() {
                let register = self.result_register(piece.class, piece.index);
                writeln!(
                    out,
                    "    {register:<6} -> {}",
                    describe(&format!("result {i}"), value, piece, self.abi)
                )?;
            }
            if let Place::Hidden { offset } = value.place {
                writeln!(
                    out,
                    "    memory -> result {i} at byte {offset} of them: {}",
                    value.ty
                )?;
            }
        }
        Ok(())
    }

    /// What is in the frame, sorted by address, gaps filled in.
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut add = |area, from: u64, size: u64, text: String| {
            rows.push(Row {
                from,
                to: from.saturating_add(size),
                area,
                text,
            });
        };
        for (i, value) in self.args.iter().enumerate() {
            let ty = &value.ty;
            match value.place {
                Place::Split { offset, .. } => {
                    let text = format!("argument {i}, second word: {ty}");
                    add("stack arguments", offset, WORD, text);
                }
                Place::Reference { ref pointer, copy } => {
                    if let Place::Stack { offset } = **pointer {
                        let text = format!("address of argument {i}'s copy");
                        add("stack arguments", offset, WORD, text);
                    }
                    let text = format!("argument {i}: {ty}");
                    add("copies", copy, value.size, text);
                }
                Place::Stack { offset } => {
                    add(
                        "stack arguments",
                        offset,
                        value.size,
                        format!("argument {i}: {ty}"),
                    );
                }
                Place::Regs {
                    spill: Some(spill), ..
                } => {
                    add(
                        "spill slots",
                        spill,
                        value.size,
                        format!("for argument {i}: {ty}"),
                    );
                }
                _ => {}
            }
        }
        for (i, value) in self.results.iter().enumerate() {
            if let Place::Stack { offset } = value.place {
                add(
                    "stack results",
                    offset,
                    value.size,
                    format!("result {i}: {}", value.ty),
                );
            }
        }
        rows.sort_by_key(|row| (row.from, row.to));
        let mut with_gaps: Vec<Row> = Vec::new();
        let padding = |from, to, area| Row {
            from,
            to,
            area,
            text: "(padding)".into(),
        };
        let mut at = 0;
        for row in rows {
            if row.from > at {
                let area = with_gaps.last().map_or(row.area, |before| before.area);
                with_gaps.push(padding(at, row.from, area));
            }
            at = at.max(row.to);
            with_gaps.push(row);
        }
        if self.frame_size > at {
            let area = with_gaps.last().map_or("", |before| before.area);
            with_gaps.push(padding(at, self.frame_size, area));
        }
        with_gaps
    }
}

/// `argument 0, bytes 8..16: interface{}`, or without the bytes when the register has it all.
fn describe(what: &str, value: &Value, piece: &Piece, abi: Abi) -> String {
    let (off, size) = (piece.off, piece.size);
    let whole = size == value.size;
    let bytes = if whole {
        String::new()
    } else {
        format!(", bytes {off}..{}", off.saturating_add(size))
    };
    let where_in_register = match (piece.class, piece.reg_off, size) {
        (_, _, WORD..) => String::new(),
        (_, from @ 1.., _) => format!(" (from byte {from} of the register)"),
        (RegClass::Float, ..) => match abi.float32_image() {
            Float32Image::Low => " (low 4 bytes)".into(),
            Float32Image::NanBoxed => " (low 4 bytes, ones above)".into(),
            Float32Image::AsDouble => " (as a float64)".into(),
            Float32Image::High => " (high 4 bytes)".into(),
        },
        (RegClass::Int, _, 1) => " (low byte)".into(),
        (RegClass::Int, ..) => format!(" (low {size} bytes)"),
    };
    format!("{what}{bytes}: {}{where_in_register}", value.ty)
}
