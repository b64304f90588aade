//! Models on disk: finding them and checking them before anything else reads them.

pub mod locate;

pub use locate::ModelPlaces;
