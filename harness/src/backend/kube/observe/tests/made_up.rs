//! What no cluster shows on demand: missing parts, clocks that disagree, gaps, races.

mod ends;
mod lives;
mod objects;
