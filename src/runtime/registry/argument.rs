//! What a cleanup is called with: a value of the function's parameter type, captured when the
//! cleanup is added.
#![forbid(unsafe_code)]

use fing_stubs::signature::Field;
use fing_stubs::{Abi, BlockLayout, Kind, Signature, Type};

use super::{AddCleanupError, value};
use crate::calls::function::{Function, UncheckedBytes};
use crate::calls::shape::Argument;
use crate::heap::AllocError;
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;
use crate::types::{ARGUMENT, TypesError};

/// What a cleanup is called with. It is captured by value when the cleanup is added, and checked to
/// be a value of the function's parameter type; objects that it refers to are kept alive until the
/// cleanup has run or is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CleanupArgument<'m> {
    /// A number or an address, for any parameter of 1 to 8 bytes. A shorter parameter gets the low
    /// bytes. A pointer is checked as in [`Bytes`](Self::Bytes); an `unsafe.Pointer` or `uintptr`
    /// may be any address.
    Word(u64),
    /// An object, for a parameter that is a pointer to its type or an `unsafe.Pointer`, or an
    /// interface that pointers to the object implement.
    Object(Obj<'m>),
    /// A value of any type, as it lies in memory: the parameter's size in bytes, its pointers as
    /// addresses in this machine's order of bytes. A pointer is nil, or the address of a value of
    /// the type it points to in an object of this heap; a string or slice lies in an object;
    /// interfaces, maps, channels and functions are nil. More than 16 bytes are kept in an object
    /// of the heap.
    Bytes(&'m [u8]),
    /// As `Bytes`, but only the number of bytes is checked.
    Unchecked(UncheckedBytes<'m>),
}

impl From<u64> for CleanupArgument<'_> {
    fn from(word: u64) -> Self {
        CleanupArgument::Word(word)
    }
}

impl<'m> From<Obj<'m>> for CleanupArgument<'m> {
    fn from(object: Obj<'m>) -> Self {
        CleanupArgument::Object(object)
    }
}

impl<'m> From<&'m [u8]> for CleanupArgument<'m> {
    fn from(bytes: &'m [u8]) -> Self {
        CleanupArgument::Bytes(bytes)
    }
}

/// Bytes that a record can hold.
const LIMIT: u64 = fing_stubs::RECORD_ARGUMENT;

/// An argument as a record carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Captured {
    /// Its bytes as they are in memory; for [`Argument::Block`] the address of the bytes, and that
    /// of space for results.
    pub(super) words: [u64; 2],
    /// How the words carry it.
    pub(super) argument: Argument,
    /// Whether it is a single pointer, of which Go checks where it points.
    pub(super) is_pointer: bool,
    /// The parameter's size in bytes, if any bytes are a value of it: then later arguments need no
    /// check.
    pub(super) number: Option<u8>,
}

/// The words of an argument that are references: word n if bit n of `references` is set.
pub(super) fn referred(words: [u64; 2], references: u8) -> impl Iterator<Item = usize> {
    let indices = (0..2).filter(move |n| references >> n & 1 != 0);
    indices.map(move |n| words[n] as usize)
}

/// Returns the words of a record for a number of `size` bytes, from 1 to 8.
#[inline]
pub(super) fn number(word: u64, size: u8) -> [u64; 2] {
    let unused = 64 - 8 * u32::from(size);
    let low = word << unused;
    let value = if cfg!(target_endian = "big") {
        low
    } else {
        low >> unused
    };
    [value, 0]
}

impl Captured {
    /// Returns the argument, if it is a single pointer.
    pub(super) fn pointer(self) -> Option<usize> {
        self.is_pointer.then_some(self.words[0] as usize)
    }
}

/// Reads an argument as a value of the function's one parameter.
pub(super) fn capture(
    mutator: &Mutator,
    function: &Function,
    argument: CleanupArgument<'_>,
) -> Result<Captured, AddCleanupError> {
    let signature = function.signature();
    let Some(parameter) = function.only_parameter() else {
        return Err(AddCleanupError::ParameterCount {
            function: signature.clone(),
        });
    };
    let wrong = |reason: String| AddCleanupError::Value {
        wanted: parameter.clone(),
        function: signature.clone(),
        reason,
    };
    mutator
        .types()
        .check_own(parameter)
        .map_err(|error| wrong(error.to_string()))?;
    let abi = function.fixed_abi();
    if let Some(abi) = abi.filter(|abi| !abi.lays_out_as_go(parameter)) {
        return Err(wrong(format!(
            "under {abi} it does not lie in memory as Go's values do"
        )));
    }
    let size = parameter.layout().map_or(0, |layout| layout.size);
    let check = |bytes: &[u8]| value::check(mutator, parameter, bytes).map_err(wrong);
    let words = match argument {
        CleanupArgument::Word(word) if (1..=8).contains(&size) => {
            let words = number(word, size as u8);
            check(&words[0].to_ne_bytes()[..size as usize])?;
            Some(words)
        }
        CleanupArgument::Object(object) => object_words(mutator, function, parameter, object),
        CleanupArgument::Bytes(bytes) | CleanupArgument::Unchecked(UncheckedBytes(bytes))
            if bytes.len() as u64 == size =>
        {
            if let CleanupArgument::Bytes(_) = argument {
                check(bytes)?;
            }
            if size > LIMIT {
                return Ok(Captured {
                    words: boxed(mutator, results_size(signature, abi), parameter, bytes)?,
                    argument: Argument::Block,
                    is_pointer: false,
                    number: None,
                });
            }
            let mut value = [[0; 8]; 2];
            for (word, bytes) in value.iter_mut().zip(bytes.chunks(8)) {
                word[..bytes.len()].copy_from_slice(bytes);
            }
            Some(value.map(u64::from_ne_bytes))
        }
        _ => None,
    };
    let words = words.ok_or_else(|| mismatch(mutator, signature, parameter, argument))?;
    let mut references = 0u8;
    parameter.for_each_pointer_word(&mut |offset| references |= 1 << (offset / 8));
    let is_pointer = matches!(
        parameter.underlying(),
        Kind::Pointer(_) | Kind::UnsafePointer
    );
    let number = value::is_number(parameter).then_some(size as u8);
    Ok(Captured {
        words,
        argument: Argument::Image { references },
        is_pointer,
        number,
    })
}

/// Bytes of the block of results.
fn results_size(signature: &Signature, abi: Option<Abi>) -> u64 {
    let block = match abi {
        Some(abi) => BlockLayout::under(abi, signature.results()),
        None => BlockLayout::of(signature.results()),
    };
    block.size()
}

/// Puts an argument into an object of its own, with space for the function's results behind it.
/// Returns the addresses of both. The collector follows the argument's pointers, and nothing in the
/// results. Safe code can't write to it, as the argument was checked.
fn boxed(
    mutator: &Mutator,
    results: u64,
    parameter: &Type,
    bytes: &[u8],
) -> Result<[u64; 2], AllocError> {
    let types = mutator.types();
    let room = results.div_ceil(8);
    types.define_own(ARGUMENT, "struct {}")?;
    let fields = vec![
        Field::new("Sealed", types.parse(ARGUMENT)?),
        Field::new("Argument", parameter.clone()),
        Field::new("Results", types.parse(&format!("[{room}]uint64"))?),
    ];
    let ty = types.intern(&Type::structure(fields).map_err(TypesError::from)?)?;
    let object = mutator.alloc(ty)?;
    mutator.space().heap().initialize(object.addr(), bytes);
    let results = object.addr() + bytes.len().next_multiple_of(8);
    Ok([object.addr() as u64, results as u64])
}

/// Returns the words of a parameter of this type that is given the object; `None` if it does not
/// take the object.
fn object_words(
    mutator: &Mutator,
    function: &Function,
    parameter: &Type,
    object: Obj<'_>,
) -> Option<[u64; 2]> {
    let (types, word) = (mutator.types(), object.addr() as u64);
    let ty = mutator.space().heap().type_at(object.addr()).ok()?;
    if ty.is_sealed() {
        return None;
    }
    match parameter.underlying() {
        Kind::UnsafePointer => Some([word, 0]),
        Kind::Pointer(_) => {
            let bytes = word.to_ne_bytes();
            value::check(mutator, parameter, &bytes).ok()?;
            Some([word, 0])
        }
        Kind::Interface(_) => {
            let pointer = types.pointer_to(ty.id()).ok()?;
            let parameter = types.intern(parameter).ok()?;
            let own = types.assignable(pointer, parameter).ok()?.first_word()?;
            let first = function.interface_word().unwrap_or(own);
            Some([first as u64, word])
        }
        _ => None,
    }
}

fn mismatch(
    mutator: &Mutator,
    function: &Signature,
    parameter: &Type,
    argument: CleanupArgument<'_>,
) -> AddCleanupError {
    let found = match argument {
        CleanupArgument::Word(_) => "one word".to_owned(),
        CleanupArgument::Object(object) => match mutator.space().heap().type_at(object.addr()) {
            Ok(desc) => format!("an object of type {}", desc.ty()),
            Err(_) => "an object of another runtime".to_owned(),
        },
        CleanupArgument::Bytes(bytes) | CleanupArgument::Unchecked(UncheckedBytes(bytes)) => {
            format!("{} bytes", bytes.len())
        }
    };
    AddCleanupError::NotAssignable {
        found,
        wanted: parameter.clone(),
        function: function.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lies_as_its_type_does() {
        let word = 0x8877_6655_4433_2211u64;
        for size in 1..=8u8 {
            let [value, rest] = number(word, size);
            // By way of memory, as a function reads it.
            let (bytes, len) = (value.to_ne_bytes(), usize::from(size));
            let mut low = word.to_le_bytes()[..len].to_vec();
            if cfg!(target_endian = "big") {
                low.reverse();
            }
            assert_eq!((&bytes[..len], rest), (&low[..], 0), "{size} bytes");
            assert!(bytes[len..].iter().all(|&byte| byte == 0), "{size} bytes");
        }
    }

    #[test]
    fn references_are_the_words_of_the_mask() {
        let of = |references| referred([16, 32], references).collect::<Vec<_>>();
        assert_eq!(
            [of(0), of(1), of(2), of(3)],
            [vec![], vec![16], vec![32], vec![16, 32]]
        );
    }
}
