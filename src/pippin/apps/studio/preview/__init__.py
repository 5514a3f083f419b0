"""Preview: interactive predictions. Inputs entered by hand or streamed enter; outputs drawn by model kind leave."""
