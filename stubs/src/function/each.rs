//! A loop whose first steps are written out.
#![forbid(unsafe_code)]

use std::convert::Infallible;

use super::Arg;

/// Steps that are written out.
const STEPS: usize = 8;

/// Calls `one` with 0 up to `count`, until it fails.
///
/// Where `count` is a constant and small, as where a call lists its arguments, no loop is left, and
/// what is known about each argument is known to its step.
#[inline(always)]
pub(super) fn each<E>(count: usize, mut one: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
    macro_rules! steps {
        ($($n:literal)*) => {$(
            if count <= $n {
                return Ok(());
            }
            one($n)?;
        )*};
    }
    steps!(0 1 2 3 4 5 6 7);
    (STEPS..count).try_for_each(one)
}

/// Calls `then` with the arguments, of which a few are copied for it.
///
/// A list whose address a function is given has to be in memory. Here only the copy's is given
/// away, so a list that is written where a function is called stays in registers until then.
#[inline(always)]
pub(super) fn with_copy<T>(args: &[Arg<'_>], then: impl FnOnce(&[Arg<'_>]) -> T) -> T {
    if args.len() > STEPS {
        return then(args);
    }
    let mut copy = [Arg::bytes(&[]); STEPS];
    let Ok(()) = each::<Infallible>(args.len(), |n| {
        copy[n] = args[n];
        Ok(())
    });
    then(&copy[..args.len()])
}
