"""Forms: what people type, checked, with the sentence they read when it does not fit."""
