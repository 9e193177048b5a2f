//! The system calls of a container's life, without a runtime around them.

#![no_std]
#![no_main]

bare::program!(bare::floor::main);
