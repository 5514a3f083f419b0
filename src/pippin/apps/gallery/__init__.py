"""Gallery: colours a wall of photos while they are in view. Grayscale tiles enter; coloured tiles and figures leave."""
