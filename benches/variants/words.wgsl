alias Word = Real;

fn real(word: Word) -> Real {
    return word;
}

fn word(real: Real) -> Word {
    return real;
}

