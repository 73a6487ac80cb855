//! Signatures: what a call stub is made for.
#![forbid(unsafe_code)]

use std::fmt;

use super::layout::by_value;
use super::{Kind, MAX_SIZE, MAX_WEIGHT, Role, Type, TypeError, WORD, round_up};
use crate::quote::short;

/// Parameters and results of a function, and the receiver if it is a method. Every type has a known
/// size.
///
/// The default is `func()`. `Display` prints `recv(T) func(T, ...T) (T)`, with a result list always
/// in parentheses; `{:#}` prints what Go would.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Signature {
    receiver: Option<Type>,
    params: Vec<Type>,
    results: Vec<Type>,
    variadic: bool,
    /// Parameters before a C variadic part. In 4 bytes, so that errors with signatures stay small.
    fixed: Option<u32>,
}

impl Signature {
    /// A signature of these types. With `variadic` the last parameter must be a slice.
    ///
    /// # Errors
    /// An opaque type among them, a variadic function without a slice at the end, more than
    /// [`MAX_WEIGHT`] types or more than [`MAX_SIZE`] bytes in all.
    ///
    /// ```
    /// use fing_stubs::signature::{Signature, Type};
    /// let pointer = Type::pointer_to(Type::int())?;
    /// let sig = Signature::new(None, vec![pointer], vec![Type::bool()], false)?;
    /// assert_eq!(sig.to_string(), "func(*int) (bool)");
    /// assert_eq!(format!("{sig:#}"), "func(*int) bool");
    /// # Ok::<(), fing_stubs::signature::TypeError>(())
    /// ```
    pub fn new(
        receiver: Option<Type>,
        params: Vec<Type>,
        results: Vec<Type>,
        variadic: bool,
    ) -> Result<Signature, TypeError> {
        if variadic
            && !params
                .last()
                .is_some_and(|last| matches!(last.kind(), Kind::Slice(_)))
        {
            let found = params
                .last()
                .map_or("missing".into(), |ty| short(ty).to_string());
            return Err(TypeError::Variadic { found });
        }
        let roles = receiver.iter().map(|ty| (ty, Role::Receiver));
        let roles = roles.chain(
            params
                .iter()
                .enumerate()
                .map(|(i, ty)| (ty, Role::Parameter(i))),
        );
        let roles = roles.chain(
            results
                .iter()
                .enumerate()
                .map(|(i, ty)| (ty, Role::Result(i))),
        );
        let (mut weight, mut bytes) = (0u64, 0u64);
        for (ty, role) in roles {
            let layout = by_value(ty, || role.clone())?;
            weight = weight.saturating_add(ty.weight());
            bytes = bytes.saturating_add(round_up(layout.size, WORD));
            if weight > MAX_WEIGHT {
                return Err(TypeError::TooHeavy);
            }
            if bytes > MAX_SIZE {
                return Err(TypeError::TooLarge {
                    what: format!("signature up to {role}"),
                });
            }
        }
        Ok(Signature {
            receiver,
            params,
            results,
            variadic,
            fixed: None,
        })
    }

    /// The same as one call of C's variadic function: its prototype has `...` behind the first
    /// `fixed` parameters, and the others are what is passed there. The text is
    /// `func(*int8, ..., float64, int32) int32`.
    ///
    /// # Errors
    /// Fewer parameters; one behind `...` that C would promote (an integer below `int`, a
    /// `float32`): it is to be given as what it becomes; Go's variadic function.
    ///
    /// ```
    /// use fing_stubs::signature::Signature;
    /// let printf: Signature = "func(*int8, float64) int32".parse()?;
    /// let printf = printf.c_variadic(1).unwrap();
    /// assert_eq!(printf.to_string(), "func(*int8, ..., float64) (int32)");
    /// assert_eq!(printf.to_string().parse(), Ok(printf.clone()));
    /// assert_eq!(printf.fixed(), Some(1));
    ///
    /// let error = "func(*int8, ..., float32)".parse::<Signature>().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "signature: column 1: parameter 1 is float32, wanted float64: C promotes what is \
    ///      passed in place of ...",
    /// );
    /// # Ok::<(), fing_stubs::signature::ParseError>(())
    /// ```
    pub fn c_variadic(self, fixed: usize) -> Result<Signature, TypeError> {
        if self.variadic {
            let found = self.params.last().map(|ty| short(ty).to_string());
            let found = found.unwrap_or_default();
            return Err(TypeError::Variadic { found });
        }
        let Some(others) = self.params.get(fixed..) else {
            let params = self.params.len();
            return Err(TypeError::Fixed {
                found: fixed,
                params,
            });
        };
        for (i, ty) in (fixed..).zip(others) {
            if let Some(wanted) = promoted(ty) {
                return Err(TypeError::NotPromoted {
                    role: Role::Parameter(i),
                    found: short(ty).to_string(),
                    wanted,
                });
            }
        }
        Ok(Signature {
            // No signature has 2^32 parameters: MAX_WEIGHT.
            fixed: Some(fixed as u32),
            ..self
        })
    }

    /// The receiver of a method.
    pub fn receiver(&self) -> Option<&Type> {
        self.receiver.as_ref()
    }

    /// The parameters, without the receiver.
    pub fn params(&self) -> &[Type] {
        &self.params
    }

    /// The results.
    pub fn results(&self) -> &[Type] {
        &self.results
    }

    /// Whether the last parameter is written `...T`. It is passed as the slice it is.
    pub fn is_variadic(&self) -> bool {
        self.variadic
    }

    /// Of a call of C's variadic function: how many parameters its prototype has in front of `...`.
    pub fn fixed(&self) -> Option<usize> {
        self.fixed.map(|fixed| fixed as usize)
    }

    /// What is passed, in order: the receiver, if any, then the parameters.
    pub fn arguments(&self) -> impl Iterator<Item = &Type> {
        self.receiver.iter().chain(&self.params)
    }
}

/// What C makes of a value of this type that is passed in place of `...`, if not the same.
fn promoted(ty: &Type) -> Option<&'static str> {
    match ty.underlying() {
        Kind::Bool | Kind::Int8 | Kind::Uint8 | Kind::Int16 | Kind::Uint16 => Some("int32"),
        Kind::Float32 => Some("float64"),
        _ => None,
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
