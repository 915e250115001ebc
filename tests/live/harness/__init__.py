"""What the live tests stand on: real servers, the program, the truth and a busy writer."""
