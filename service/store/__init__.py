"""The only callers of SQL, one file per subject: plain arguments in, plain values out."""
