//! Chance that can be repeated: from a seed that is printed.

/// A source of chance.
pub(crate) struct Chance(u64);

impl Chance {
    /// From `GREFFE_TEST_SEED`, or another seed on every run, which is printed with the name of what it is for.
    pub(crate) fn new(what: &str) -> Self {
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        let seed = super::setting("GREFFE_TEST_SEED", random);
        eprintln!("{what}: GREFFE_TEST_SEED={seed}");
        Self(seed)
    }

    /// The next number (`SplitMix64`).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end` − 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).expect("it is small")).expect("it is less than a usize")
    }

    /// Puts things into another order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}
