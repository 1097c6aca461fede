//! What an operator looks at, requeues and purges.
