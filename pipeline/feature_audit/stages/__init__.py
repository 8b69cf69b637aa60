"""One function per stage of an audit."""
