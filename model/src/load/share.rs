//! Parts of the whole, for several generators.

use serde::{Deserialize, Serialize};

/// One generator's part of the whole: every `of`th arrival, and its part of what is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Which part, from 0; below `of`.
    pub index: u32,
    /// How many parts there are; at least 1.
    pub of: u32,
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// All parts of `of`, in order.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (0..of).map(move |index| Self { index, of })
    }

    /// Whether there is such a part.
    pub const fn is_valid(self) -> bool {
        self.index < self.of
    }

    /// Whether the arrival of that number is in this part. Each is in exactly one.
    pub fn owns(self, number: u64) -> bool {
        number % u64::from(self.of) == u64::from(self.index)
    }

    /// This part of `total` things that cannot be cut. Parts differ by one at most, and add up.
    pub fn part(self, total: u32) -> u32 {
        total / self.of + u32::from(self.index < total % self.of)
    }

    /// The `n`th number (from 0) of those that this part may give away, so that no two parts give
    /// the same.
    pub fn number(self, n: u64) -> u64 {
        n * u64::from(self.of) + u64::from(self.index)
    }
}
