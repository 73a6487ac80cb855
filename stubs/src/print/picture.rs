//! The frame as a picture, with the registers beside it.
#![forbid(unsafe_code)]

use std::fmt::{self, Write};

use crate::abi::{Abi, Float32Image, RegClass};
use crate::assign::{Assignment, Piece, Place, Value};
use crate::signature::WORD;

/// A stretch of the frame.
struct Row {
    from: u64,
    to: u64,
    area: &'static str,
    text: String,
}

impl Assignment {
    /// The frame drawn from the argument base up, lowest address first, and the registers beside
    /// it.
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
