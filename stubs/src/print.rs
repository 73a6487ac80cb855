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

#[cfg(feature = "explain")]
mod json;
mod picture;

use std::fmt::{self, Display, Formatter};

use crate::abi::RegClass;
use crate::assign::{Assignment, Piece, Place, Value};

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
    /// The assignment in the form Go's compiler and its tests use: one line for each value, then
    /// the spill area.
    ///
    /// `spilloffset` counts from the spill area and is -1 where there is no slot; `offset` counts
    /// from the argument base. Two lines are no form of Go's: native results behind a hidden
    /// pointer and the pointer itself.
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
}

/// `I0`, `F3`: class and place in the sequence.
fn short_name(piece: &Piece) -> String {
    let class = match piece.class {
        RegClass::Int => 'I',
        RegClass::Float => 'F',
    };
    format!("{class}{}", piece.index)
}
