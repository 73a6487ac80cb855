//! A machine without callees.

use super::Entry;

pub(super) const INT_ARG_REGS: usize = 0;
pub(super) const POINTER: &[Entry] = &each_count!(entry:);
pub(super) const INTERFACE: &[Entry] = POINTER;
pub(super) const SIXTY_KILOBYTES: &[Entry] = POINTER;
pub(super) const NATIVE: &[Entry] = POINTER;
