"""From one downloaded file to a proven pair: deriving the half that is missing, and its proof."""
