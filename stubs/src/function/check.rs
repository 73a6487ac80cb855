//! Whether a signature is that of a type of Rust functions. Checked once, for calls and callbacks
//! that check nothing.
#![forbid(unsafe_code)]

use super::Side;
use super::fits::fits;
use super::typed::FunctionType;
use crate::{Abi, BlockLayout, Signature, Type};

/// What a type of Rust functions has that a signature has not.
pub(crate) enum Mismatch {
    /// Another number of arguments.
    Count { found: usize, wanted: usize },
    /// A value of another type.
    Value { side: Side, ty: Type, found: String },
    /// One result, or none, for so many.
    Results { found: String, wanted: usize },
    /// Rust lays out the arguments or the result otherwise than the ABI.
    Layout,
}

/// Compares `F` with a signature whose blocks have these layouts.
pub(crate) fn check<F: FunctionType>(
    signature: &Signature,
    abi: Abi,
    arguments: &BlockLayout,
    results: &BlockLayout,
) -> Result<(), Mismatch> {
    let params: Vec<&Type> = signature.arguments().collect();
    let own = F::params();
    if own.len() != params.len() {
        return Err(Mismatch::Count {
            found: own.len(),
            wanted: params.len(),
        });
    }
    let same = |found: &Type, wanted: &Type| {
        fits(found, wanted) && abi.layout_of(found) == abi.layout_of(wanted)
    };
    for (n, (found, wanted)) in own.iter().zip(params).enumerate() {
        if !same(found, wanted) {
            return Err(Mismatch::Value {
                side: Side::Argument(n),
                ty: wanted.clone(),
                found: found.to_string(),
            });
        }
    }
    let found = || F::result().map_or("nothing".to_owned(), |ty| ty.to_string());
    match (F::result(), signature.results()) {
        (None, []) => {}
        (Some(own), [wanted]) if same(&own, wanted) => {}
        (_, [wanted]) => {
            return Err(Mismatch::Value {
                side: Side::Result,
                ty: wanted.clone(),
                found: found(),
            });
        }
        (_, wanted) => {
            return Err(Mismatch::Results {
                found: found(),
                wanted: wanted.len(),
            });
        }
    }
    let result_lies_as =
        results.size() == F::result_size() as u64 && results.may_lie_at(F::result_align());
    if F::lies_as(arguments) && result_lies_as {
        Ok(())
    } else {
        Err(Mismatch::Layout)
    }
}
