//! A value of any type in a place of fixed size: a small one in the place itself, so that a
//! callback of a small closure allocates nothing, another one behind a pointer.
#![expect(unsafe_code, reason = "the type of the value is not in the type")]

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Words of a value that is held in place.
const WORDS: usize = 4;

/// A value of the type with which it was made. It may move until it is [used](Held::get).
pub(super) struct Held {
    /// The value, or its address. A cell, since the value may have cells in it.
    place: UnsafeCell<[MaybeUninit<usize>; WORDS]>,
    /// Drops the value in this place.
    drop: unsafe fn(*mut ()),
    /// The value may be of one thread only.
    _value: PhantomData<*mut ()>,
}

/// Whether values of a type are held in place.
const fn in_place<T>() -> bool {
    size_of::<T>() <= size_of::<[usize; WORDS]>() && align_of::<T>() <= align_of::<usize>()
}

impl Held {
    pub(super) fn new<T: 'static>(value: T) -> Held {
        let mut place = [MaybeUninit::uninit(); WORDS];
        let start = place.as_mut_ptr();
        if const { in_place::<T>() } {
            // SAFETY: I10: `in_place` says that it has the room and the alignment.
            unsafe { start.cast::<T>().write(value) };
            let drop = |place: *mut ()| {
                // SAFETY: I10: the value that was written, dropped once: by the drop of this.
                unsafe { place.cast::<T>().drop_in_place() }
            };
            Held::of(place, drop)
        } else {
            let address = Box::into_raw(Box::new(value));
            // SAFETY: I10: an address has one word.
            unsafe { start.cast::<*mut T>().write(address) };
            let drop = |place: *mut ()| {
                // SAFETY: I10: the box that was made above, which nothing else frees.
                drop(unsafe { Box::from_raw(*place.cast::<*mut T>()) });
            };
            Held::of(place, drop)
        }
    }

    fn of(place: [MaybeUninit<usize>; WORDS], drop: unsafe fn(*mut ())) -> Held {
        Held {
            place: UnsafeCell::new(place),
            drop,
            _value: PhantomData,
        }
    }

    /// The value.
    ///
    /// # Safety
    /// It was made with a value of this type.
    #[inline]
    pub(super) unsafe fn get<T: 'static>(&self) -> &T {
        let place = self.place.get().cast::<()>();
        if const { in_place::<T>() } {
            // SAFETY: I10: `new` has written a value of this type here.
            unsafe { &*place.cast::<T>() }
        } else {
            // SAFETY: I10: `new` has written the address of a box of this type here.
            unsafe { &**place.cast::<*const T>() }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: I10: the place that this was made with, or where it was moved to since.
        unsafe { (self.drop)(self.place.get().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    fn held<T: 'static>(value: T, wanted: bool) -> Held {
        assert_eq!(in_place::<T>(), wanted);
        Held::new(value)
    }

    /// Values of all sizes and alignments are the same after a move, and dropped once.
    #[test]
    fn values_are_held_in_place_or_in_a_box() {
        #[repr(align(32))]
        struct Wide(u8);
        let drops = Rc::new(());
        let small = held((Cell::new(7u64), drops.clone()), true);
        let most = held(([1usize, 2, 3], drops.clone()), true);
        let large = held(([1usize, 2, 3, 4], drops.clone()), false);
        let wide = held(Wide(9), false);
        let nothing = held((), true);
        let all = Box::new((small, most, large, wide, nothing));
        // SAFETY: I10: of the types with which they were made.
        unsafe {
            let cell = &all.0.get::<(Cell<u64>, Rc<()>)>().0;
            cell.set(cell.get() + 1);
            assert_eq!(all.0.get::<(Cell<u64>, Rc<()>)>().0.get(), 8);
            assert_eq!(all.1.get::<([usize; 3], Rc<()>)>().0, [1, 2, 3]);
            assert_eq!(all.2.get::<([usize; 4], Rc<()>)>().0, [1, 2, 3, 4]);
            let wide = all.3.get::<Wide>();
            assert_eq!((wide.0, std::ptr::from_ref(wide).addr() % 32), (9, 0));
            all.4.get::<()>();
        }
        assert_eq!(Rc::strong_count(&drops), 4);
        drop(all);
        assert_eq!(Rc::strong_count(&drops), 1);
    }
}
