//! Who may use servers that want to know.

/// The only user that servers of tests know.
pub const USER: &str = "spore";
/// The user's password.
pub const PASSWORD: &str = "correct horse";
