//! Constants: 127-bit integers and floats of the machine, where Go has unlimited ones.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::types::{Ty, Types};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Const {
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<[u8]>),
}

impl Const {
    fn float(&self) -> Option<f64> {
        match self {
            Const::Int(value) => Some(*value as f64),
            Const::Float(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn int(&self) -> Option<i128> {
        match self {
            Const::Int(value) => Some(*value),
            Const::Float(value) if value.fract() == 0.0 && value.abs() < 1e30 => {
                Some(*value as i128)
            }
            _ => None,
        }
    }
}

/// `a op b`; `None` where the operator isn't defined, or the result is too large.
pub(crate) fn binary(op: &str, a: &Const, b: &Const, integers: bool) -> Option<Const> {
    use std::cmp::Ordering::*;
    let order = match (a, b) {
        (Const::Int(a), Const::Int(b)) => Some(a.cmp(b)),
        (Const::Str(a), Const::Str(b)) => Some(a.cmp(b)),
        (Const::Bool(a), Const::Bool(b)) => Some(a.cmp(b)),
        _ => a.float()?.partial_cmp(&b.float()?),
    };
    let compared = match op {
        "==" => Some(order == Some(Equal)),
        "!=" => Some(order != Some(Equal)),
        "<" => Some(order == Some(Less)),
        "<=" => Some(matches!(order, Some(Less | Equal))),
        ">" => Some(order == Some(Greater)),
        ">=" => Some(matches!(order, Some(Greater | Equal))),
        _ => None,
    };
    if let Some(result) = compared {
        return Some(Const::Bool(result));
    }
    match (a, b) {
        (Const::Bool(a), Const::Bool(b)) => match op {
            "&&" => Some(Const::Bool(*a && *b)),
            "||" => Some(Const::Bool(*a || *b)),
            _ => None,
        },
        (Const::Str(a), Const::Str(b)) if op == "+" => {
            Some(Const::Str([&**a, &**b].concat().into()))
        }
        (Const::Int(a), Const::Int(b)) if integers => int(op, *a, *b).map(Const::Int),
        _ => {
            let (a, b) = (a.float()?, b.float()?);
            let result = match op {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                "/" if b != 0.0 => a / b,
                _ => return None,
            };
            Some(Const::Float(result))
        }
    }
}

fn int(op: &str, a: i128, b: i128) -> Option<i128> {
    match op {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" => a.checked_div(b),
        "%" => a.checked_rem(b),
        "&" => Some(a & b),
        "|" => Some(a | b),
        "^" => Some(a ^ b),
        "&^" => Some(a & !b),
        "<<" => {
            let by = u32::try_from(b).ok().filter(|by| *by < 127)?;
            let result = a.checked_shl(by)?;
            (result >> by == a).then_some(result)
        }
        ">>" => Some(a >> b.clamp(0, 127)),
        _ => None,
    }
}

/// Returns the constant as a value of the type, or why it can't be one.
pub(crate) fn represent(types: &Types, value: &Const, ty: Ty) -> Result<Const, String> {
    let cannot = |kind: &str| Err(format!("cannot use {kind} as {} value", types.show(ty)));
    match value {
        Const::Bool(_) if types.is_bool(ty) => Ok(value.clone()),
        Const::Str(_) if types.is_string(ty) => Ok(value.clone()),
        Const::Bool(_) => cannot("untyped bool constant"),
        Const::Str(_) => cannot("untyped string constant"),
        _ if types.is_float(ty) => Ok(value.float().map_or(Const::Float(0.0), Const::Float)),
        _ => {
            let Some((bits, signed)) = types.integer(ty) else {
                return cannot("untyped number constant");
            };
            let Some(int) = value.int() else {
                return Err(format!("constant truncated to {}", types.show(ty)));
            };
            if types.is_untyped(ty) {
                return Ok(Const::Int(int));
            }
            let (low, high) = match signed {
                true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
                false => (0, (1i128 << bits) - 1),
            };
            if int < low || int > high {
                let ty = types.show(ty);
                return Err(format!("constant {int} overflows {ty}"));
            }
            Ok(Const::Int(int))
        }
    }
}
