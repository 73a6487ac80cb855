//! Constants: 127-bit integers and floats of the machine, where Go has unlimited ones.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::types::{Basic, Ty, Types};

#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(crate) enum Const {
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<[u8]>),
}

impl Const {
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

/// `a op b` of two constants of one type; `None` where the operator isn't defined, or the result
/// is too large.
pub(crate) fn binary(op: &str, a: &Const, b: &Const) -> Option<Const> {
    Some(match (op, a, b) {
        ("==", ..) => Const::Bool(a == b),
        ("!=", ..) => Const::Bool(a != b),
        ("<", ..) => Const::Bool(a < b),
        ("<=", ..) => Const::Bool(a <= b),
        (">", ..) => Const::Bool(a > b),
        (">=", ..) => Const::Bool(a >= b),
        ("&&", Const::Bool(a), Const::Bool(b)) => Const::Bool(*a && *b),
        ("||", Const::Bool(a), Const::Bool(b)) => Const::Bool(*a || *b),
        ("+", Const::Str(a), Const::Str(b)) => Const::Str([&**a, &**b].concat().into()),
        (_, Const::Int(a), Const::Int(b)) => Const::Int(int(op, *a, *b)?),
        (_, Const::Float(a), Const::Float(b)) => Const::Float(float(op, *a, *b)?),
        _ => return None,
    })
}

fn float(op: &str, a: f64, b: f64) -> Option<f64> {
    match op {
        "+" => Some(a + b),
        "-" => Some(a - b),
        "*" => Some(a * b),
        "/" if b != 0.0 => Some(a / b),
        _ => None,
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

/// A float as precise as the type; there is no -0.
fn float_of(types: &Types, value: f64, ty: Ty) -> Result<Const, String> {
    let single = types.basic(ty) == Some(Basic::Float32);
    let value = if single { (value as f32).into() } else { value };
    match f64::is_finite(value) {
        true => Ok(Const::Float(value + 0.0)),
        false => Err(format!("constant overflows {}", types.show(ty))),
    }
}

/// Returns the constant as a value of the type, or why it can't be one.
pub(crate) fn represent(types: &Types, value: &Const, ty: Ty) -> Result<Const, String> {
    let what = match value {
        Const::Bool(_) if types.is_bool(ty) => return Ok(value.clone()),
        Const::Str(_) if types.is_string(ty) => return Ok(value.clone()),
        Const::Int(value) if types.is_float(ty) => return float_of(types, *value as f64, ty),
        Const::Float(value) if types.is_float(ty) => return float_of(types, *value, ty),
        Const::Bool(_) => "bool",
        Const::Str(_) => "string",
        _ => "number",
    };
    let ty_text = types.show(ty);
    let bounds = types.integer(ty).filter(|_| what == "number");
    let Some((bits, signed)) = bounds else {
        return Err(format!(
            "cannot use untyped {what} constant as {ty_text} value"
        ));
    };
    let int = value
        .int()
        .ok_or_else(|| format!("constant truncated to {ty_text}"))?;
    // Unsigned values have one bit more, and none below 0.
    let high = (1i128 << (bits - u32::from(signed))) - 1;
    let low = if signed { -high - 1 } else { 0 };
    match types.is_untyped(ty) || (low..=high).contains(&int) {
        true => Ok(Const::Int(int)),
        false => Err(format!("constant {int} overflows {ty_text}")),
    }
}
