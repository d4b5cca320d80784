"""The part of the guest for sessions, which keep an interpreter for several cells; sent only with those cells."""
