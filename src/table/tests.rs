//! The view on terminals of every size, with hostile names.
