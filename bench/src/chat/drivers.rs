//! The protocols that the generator speaks.

pub(super) mod greffe;
