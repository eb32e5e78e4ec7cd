"""What the back ends compiled by Numba share: vectors and pointers, padded planes, threads, what is kept on disk."""
