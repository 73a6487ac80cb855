//! Constants: exact, as in Go. Integers have up to 127 bits.

use std::str::FromStr;
use std::sync::Arc;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::ToPrimitive;

use crate::types::{Basic, Ty, Types};

/// The value of a constant.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Const {
    /// A truth.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// Another number.
    Float(BigRational),
    /// Text.
    Str(Arc<[u8]>),
}

impl Const {
    /// The integer that it is, if it is one.
    pub fn int(&self) -> Option<i128> {
        match self {
            Const::Int(value) => Some(*value),
            Const::Float(value) if value.is_integer() => value.to_i128(),
            _ => None,
        }
    }

    /// The bits that it is in memory as a value of a type that it fits, which is not of text.
    pub fn bits(&self, types: &Types, ty: Ty) -> u64 {
        let float = |value: &BigRational| match types.size(ty) {
            // There is no constant -0.
            4 => u64::from((nearest::<f32>(value).unwrap_or_default() + 0.0).to_bits()),
            _ => (nearest::<f64>(value).unwrap_or_default() + 0.0).to_bits(),
        };
        match self {
            Const::Bool(value) => u64::from(*value),
            Const::Int(value) if types.is_float(ty) => float(&BigInt::from(*value).into()),
            Const::Float(value) if types.is_float(ty) => float(value),
            // Only the low bits count: the checker has seen that the value fits.
            number => number.int().unwrap_or(0) as u64 & (u64::MAX >> (64 - 8 * types.size(ty))),
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
        (_, Const::Float(a), Const::Float(b)) => Const::Float(float(op, a, b)?),
        _ => return None,
    })
}

fn float(op: &str, a: &BigRational, b: &BigRational) -> Option<BigRational> {
    let value = match op {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" if b.numer() != &BigInt::ZERO => a / b,
        _ => return None,
    };
    Some(value).filter(|value| value.numer().bits() + value.denom().bits() <= MAX_BITS)
}

/// Bits of an exact number, as numerator and denominator.
const MAX_BITS: u64 = 1 << 16;

/// Digits with perhaps a point among them, and an exponent of the base; `None` if they are no
/// number, or too large a one.
pub(crate) fn exact(digits: &str, radix: u32, base: u32, exponent: i32) -> Option<BigRational> {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = BigInt::parse_bytes(format!("{whole}{part}").as_bytes(), radix)?;
    let power = |base: u32, exponent: i32| {
        let fits = exponent.unsigned_abs() <= 10_000;
        fits.then(|| BigRational::from(BigInt::from(base)).pow(exponent))
    };
    let scale = power(radix, -i32::try_from(part.len()).ok()?)? * power(base, exponent)?;
    Some(BigRational::from(digits) * scale)
}

/// The float that is nearest to an exact number.
fn nearest<F: FromStr>(value: &BigRational) -> Option<F> {
    // Halfway between two floats is no number with more digits behind the point, so of what comes
    // after these it only matters whether it is 0.
    const DIGITS: u32 = 1100;
    let scaled = value * BigInt::from(10).pow(DIGITS);
    let more = u8::from(!scaled.is_integer());
    let text = format!("{}{more}e-{}", scaled.to_integer(), DIGITS + 1);
    text.parse().ok()
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

/// A float as precise as the type.
fn float_of(types: &Types, value: &BigRational, ty: Ty) -> Result<Const, String> {
    let rounded = match types.basic(ty) {
        Some(Basic::Float32) => nearest::<f32>(value).and_then(BigRational::from_float),
        Some(Basic::Float64) => nearest::<f64>(value).and_then(BigRational::from_float),
        _ => Some(value.clone()),
    };
    let overflows = || format!("constant overflows {}", types.show(ty));
    Ok(Const::Float(rounded.ok_or_else(overflows)?))
}

/// Returns the constant as a value of the type, or why it can't be one.
pub(crate) fn represent(types: &Types, value: &Const, ty: Ty) -> Result<Const, String> {
    let what = match value {
        Const::Bool(_) if types.is_bool(ty) => return Ok(value.clone()),
        Const::Str(_) if types.is_string(ty) => return Ok(value.clone()),
        Const::Int(value) if types.is_float(ty) => {
            return float_of(types, &BigRational::from(BigInt::from(*value)), ty);
        }
        Const::Float(value) if types.is_float(ty) => return float_of(types, value, ty),
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
